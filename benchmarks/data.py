"""The files that are served: the same bytes at every run, made once for each folder."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.measure import MB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""The beginning of a JPEG file: SOI and the JFIF segment."""
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"\x00\x00\x00\x08free"
"""The beginning of an MP4 file: the file type box and an empty one."""

SMALL = range(5_000, 40_001)
LARGE = 5_000_000


def small(root: Path, count: int) -> list[Path]:
    """``count`` pictures of 5 to 40 kB."""
    return _folder(root / f"small-{count}", count, "jpg", lambda dice: JPEG + dice.randbytes(dice.choice(SMALL)))


def even(root: Path, count: int, size: int) -> list[Path]:
    """``count`` pictures of ``size`` bytes."""
    return _folder(root / f"even-{count}-{size}", count, "jpg", lambda dice: JPEG + dice.randbytes(size - len(JPEG)))


def large(root: Path, count: int) -> list[Path]:
    """``count`` videos of 5 MB."""
    return videos(root, count, LARGE)


def videos(root: Path, count: int, size: int) -> list[Path]:
    """``count`` videos of ``size`` bytes."""
    return _folder(root / f"videos-{count}-{size}", count, "mp4", lambda dice: MP4 + dice.randbytes(size - len(MP4)))


def sparse(root: Path, size: int) -> Path:
    """A video of ``size`` bytes, most of them zeros that take no room."""
    path = root / f"sparse-{size}.mp4"
    with path.open("wb") as file:
        file.write(MP4)
        file.truncate(size)
    return path


def video(root: Path, size: int) -> Path:
    """A video of ``size`` bytes, each of its pieces unlike the others."""
    path = root / f"video-{size}.mp4"
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.unfinished")
        dice = random.Random(path.name)
        with unfinished.open("wb") as file:
            file.write(MP4[:size])
            for left in range(size - len(MP4), 0, -MB):
                file.write(dice.randbytes(min(MB, left)))
        unfinished.rename(path)
    return path


def _folder(folder: Path, count: int, extension: str, content: Callable[[random.Random], bytes]) -> list[Path]:
    if not folder.exists():
        # Renamed once it is complete, so that one that exists is.
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        dice = random.Random(f"{folder.name}")
        for number in range(count):
            (unfinished / f"{number:06d}.{extension}").write_bytes(content(dice))
        unfinished.rename(folder)
    return sorted(folder.iterdir())
