"""``python -m tests.torture``; see `torture.command`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `torture` and `support` are for pytest, too

from torture.command import main

if __name__ == "__main__":
    sys.exit(main())
