from __future__ import annotations

import sys
from pathlib import Path

# What the example measures with, the tests measure with.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "pocket"))
