"""gdl under torture: everything goes wrong, it is killed all the time, and no file may ever be wrong.

``GDL_TORTURE_MINUTES`` (default: 1.5) says how long, ``GDL_TORTURE_SEED`` repeats one; by hand it is
``python -m tests.torture``.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from torture.command import torture
from torture.report import Report
from torture.rounds import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_whatever_happens_every_file_is_whole_from_its_first_appearance_on(tmp_path: Path) -> None:
    seed = int(os.environ.get("GDL_TORTURE_SEED") or random.SystemRandom().randrange(1 << 32))
    seconds = float(os.environ.get("GDL_TORTURE_MINUTES") or 1.5) * 60
    print(f"seed {seed}")
    report = Report()
    failed = torture(Settings(seed, files=120), tmp_path, report, seconds=seconds)
    print(report.summary())
    assert failed is None, failed
