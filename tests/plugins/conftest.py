from __future__ import annotations

from tiny_repos import prepared, repo, work

__all__ = ["prepared", "repo", "work"]
