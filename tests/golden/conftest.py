from __future__ import annotations

import sys
from pathlib import Path

# The small values of the store's own tests serve here too, and the command line's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vcs"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli"))
