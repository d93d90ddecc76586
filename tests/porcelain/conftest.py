from __future__ import annotations

import sys
from pathlib import Path

# The small values of the store's tests serve here too, and the hub of those that publish.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vcs"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "publish"))

from hub_server import hub
from tiny_repos import prepared, repo, work

__all__ = ["hub", "prepared", "repo", "work"]
