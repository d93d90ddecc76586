from __future__ import annotations

from tiny_repos import prepared, work

__all__ = ["prepared", "work"]
