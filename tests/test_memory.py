"""Memory does not grow with the list, nor with a file, and a list that never ends is worked on from its first line."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.cli import start_gdl

from benchmarks.data import sparse
from benchmarks.measure import MB, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.nginx import StartNginx

FEW, MANY = 3_000, 60_000
GROWTH = 8 * MB
CEILING = 100 * MB
SERVER = """
    location /gif/ { empty_gif; }
    location /gone/ { return 404; }
"""


def peak(folder: Path, *arguments: str, code: int) -> int:
    """The peak resident set of a gdl run in bytes, its output under ``folder``; gdl must end with ``code``."""
    told = folder / "stderr"
    with told.open("wb") as stderr:
        command = [sys.executable, "-m", "downloader", "-q", "-o", str(folder / "out"), *arguments]
        usage = run(command, folder, stderr=stderr)
    assert usage.code == code, told.read_text()[-2000:]
    return usage.peak


def peaks(folder: Path, line: Callable[[int], str], *arguments: str, code: int) -> tuple[int, int]:
    """The peaks for a list of `FEW` and one of `MANY` lines."""

    def one(count: int) -> int:
        listed = folder / f"{count}.txt"
        listed.write_text("".join(f"{line(number)}\n" for number in range(count)))
        return peak(folder, *arguments, str(listed), code=code)

    return one(FEW), one(MANY)


def test_failures_leave_nothing_in_memory(tmp_path: Path, nginx: StartNginx) -> None:
    server = nginx(tmp_path, server=SERVER)
    few, many = peaks(tmp_path, lambda number: server.http(f"/gone/{number}.jpg"), code=1)
    assert many - few < GROWTH
    assert many < CEILING


def test_duplicates_leave_nothing_in_memory(tmp_path: Path, nginx: StartNginx) -> None:
    server = nginx(tmp_path, server=SERVER)
    few, many = peaks(tmp_path, lambda _: server.http("/gif/one.gif"), code=0)
    assert many - few < GROWTH
    assert many < CEILING
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["one.gif"]


def test_bad_lines_leave_nothing_in_memory(tmp_path: Path) -> None:
    few, many = peaks(tmp_path, lambda number: f"ftp://example.org/{number}.jpg", code=1)
    assert many - few < GROWTH
    assert many < CEILING


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_large_body_streams_to_the_disk(tmp_path: Path, nginx: StartNginx, version: str) -> None:
    whole = sparse(tmp_path, 300 * MB)
    server = nginx(tmp_path, server=SERVER)
    url = server.http2(f"/{whole.name}") if version == "2" else server.http(f"/{whole.name}")
    assert peak(tmp_path, "--insecure", url, code=0) < 80 * MB
    saved = tmp_path / "out" / whole.name
    assert saved.stat().st_size == 300 * MB
    saved.unlink()


def test_the_first_file_of_a_list_that_never_ends_is_there_at_once(tmp_path: Path, nginx: StartNginx) -> None:
    server = nginx(tmp_path, server=SERVER)
    first = tmp_path / "0.gif"
    started = time.monotonic()
    with start_gdl("-q", "-", cwd=tmp_path, feed=True) as running:
        number = 0
        while not first.exists() and time.monotonic() < started + 20:
            running.feed("".join(f"{server.http(f'/gif/{number + one}.gif')}\n" for one in range(100)))
            number += 100
        assert first.stat().st_size > 0
        assert running.process.poll() is None
