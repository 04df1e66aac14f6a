"""What a benchmark's case with a server of files works with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.server import serving
from support.processes import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.server import Server


@contextmanager
def workplace(folder: Path) -> Iterator[tuple[Server, Path, Path]]:
    """Give a running nginx, the folder of what it serves, and one to download to: the first arguments of a `Bench`."""
    for program in ("nginx", "openssl"):
        find_program(program)
    data, own, scratch = (folder / name for name in ("data", "nginx", "scratch"))
    for made in (data, own, scratch):
        made.mkdir()
    with serving(data, own) as server:
        yield server, data, scratch
