from __future__ import annotations

from hub_server import hub
from publish_models import make_base

__all__ = ["hub", "make_base"]
