"""The files beside a final path: what they are called, and reading a state that anybody may have put there."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from typing import TYPE_CHECKING, Final

from downloader import files, resume

if TYPE_CHECKING:
    from downloader.spans import Span

PART: Final = ".part"
STATE: Final = ".part.json"
ASIDE: Final = ".old"

TAIL: Final = 4096
"""Bytes at the end of what is there by which a part is known again."""

_FOREIGN: Final = b"?"


def ours_alone(found: os.stat_result) -> bool:
    """Tell whether a file is a regular one with one name, so that writing to it changes nobody else's."""
    return found.st_nlink == 1 and stat.S_ISREG(found.st_mode)


def read_state(final: str) -> bytes | None:
    """Return what the state of ``final`` has, None where there is none, and no state where it cannot be ours.

    Raises OSError.
    """
    try:
        fd = os.open(final + STATE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # a symbolic link, or a socket
            return _FOREIGN
        raise
    try:
        found = os.fstat(fd)
        if not ours_alone(found) or found.st_size > resume.LARGEST_STATE:
            return _FOREIGN
        return os.pread(fd, resume.LARGEST_STATE, 0)
    finally:
        files.close(fd)


def create_state(final: str, data: bytes) -> bool:
    """Write the state of ``final``; False, and nothing done, where there is one. Raises OSError."""
    try:
        fd = os.open(final + STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    try:
        files.write(fd, [data], 0)
    except OSError:
        os.unlink(final + STATE)
        raise
    finally:
        files.close(fd)
    return True


def move_aside(path: str, aside: str) -> str:
    """Rename ``path`` to ``aside``, or that with a number where it exists; return its new path. Raises OSError."""
    number = 1
    target = aside
    while not files.rename_noreplace(path, target):
        number += 1
        target = f"{aside}{number}"
    return target


def is_at(fd: int, path: str) -> bool:
    """Tell whether ``path`` still is the open file: others may remove or replace it, lock or no lock."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except OSError:
        return False


def tail(fd: int, done: list[Span]) -> int:
    """Return the CRC-32 of the last `TAIL` bytes of the last range; 0 of none. Raises OSError."""
    if not done:
        return 0
    start, end = done[-1]
    return zlib.crc32(os.pread(fd, min(TAIL, end - start), max(start, end - TAIL)))
