"""Short name of `realm vault branch`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.launch import realm

if __name__ == "__main__":
    realm("vault", "branch")
