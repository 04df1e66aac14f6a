"""Locales that are not UTF-8."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def latin_1(folder: Path) -> dict[str, str]:
    """Variables of a locale of ISO 8859-1, which is made in ``folder``; where it cannot be, the test is skipped."""
    locales = folder / "locales"
    locales.mkdir()
    made = locales / "de_DE.ISO-8859-1"
    if shutil.which("localedef"):
        subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made], capture_output=True, check=False)
    if not made.is_dir():
        pytest.skip("localedef cannot make a locale here")
    return {"LOCPATH": str(locales), "LC_ALL": made.name, "PYTHONUTF8": "0"}
