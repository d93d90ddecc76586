from __future__ import annotations

import sys
from pathlib import Path

# The small values of the store's tests serve here too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vcs"))
