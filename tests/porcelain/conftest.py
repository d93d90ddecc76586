from __future__ import annotations

from hub_server import hub
from tiny_repos import prepared, repo, work

__all__ = ["hub", "prepared", "repo", "work"]
