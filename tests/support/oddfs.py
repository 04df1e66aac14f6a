"""A file system that shows a folder and has oddities on demand: a process of its own, through FUSE.

`odd` mounts it::

    with odd(Oddities(at_flush=errno.EDQUOT), kept, folder):
        run_gdl(..., "-o", folder)

What is kept of a file is in the folder ``kept``, with nothing between it and the test.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_REPLACE: Final = 1
"""renameat2's flag."""
TIMES: Final = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")
FIELDS: Final = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
ROOM: Final = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_namemax")


@dataclass(frozen=True)
class Oddities:
    """What the file system does otherwise than most. Errors are numbers, 0 for none."""

    at_flush: int = 0
    """What is told, once, when a file is closed that was written to; half of the file is not kept."""
    at_fsync: int = 0
    """The same when the disk is to have a file."""
    room: int = 0
    """Bytes that may be written to all files before that begins."""
    link: tuple[int, ...] = ()
    """The errors of hard links, in turn."""
    rename: tuple[int, ...] = ()
    """The errors of renames that are not to replace anything, in turn."""
    links: int = -1
    """What all files have for a link count; -1 for the right one."""
    folder_links: int = -1
    """The same for folders."""
    numbers: str = ""
    """Inode numbers: ``each time`` for another one whenever one is asked for, ``names`` for one that goes with the
    name, as libfuse makes them where a file system has none."""
    name_max: int = 0
    """Bytes that a name may have, where there are fewer than usual."""
    known: bool = True
    """Whether ``name_max`` is told to those who ask for it."""
    forgotten: bool = False
    """Whether nothing more can be asked of an open file once its name is removed."""

    def __str__(self) -> str:
        changed = {key: value for key, value in asdict(self).items() if value != getattr(Oddities, key)}
        return " ".join(f"{key}={_shown(key, value)}" for key, value in changed.items()) or "none"


@contextmanager
def odd(oddities: Oddities, kept: Path, folder: Path) -> Iterator[Path]:
    """``folder``, made where it is missing, as a file system that shows ``kept`` with these oddities.

    Where nothing can be mounted the test is skipped.
    """
    from support.mounts import fuse_process, skip_unless_mountable
    from support.processes import find_program

    skip_unless_mountable()
    find_program("fusermount3")  # comes with libfuse
    kept.mkdir(exist_ok=True)
    # Only libfuse 3 knows renames that replace nothing.
    env = {**os.environ, "FUSE_LIBRARY_NAME": "fuse3", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "support.oddfs", str(kept), str(folder), json.dumps(asdict(oddities))]
    with fuse_process(command, folder, env):
        yield folder


class OddFolder:
    """The operations of libfuse, as mfusepy calls them."""

    use_ns = True

    def __init__(self, kept: str, oddities: Oddities) -> None:
        self._kept = os.fsencode(kept)
        self._odd = oddities
        self._number = count(1)
        self._links, self._renames = cycle(oddities.link or (0,)), cycle(oddities.rename or (0,))
        self._written = 0
        self._unheard: set[int] = set()
        """Descriptors of files that were written to since it was told what becomes of that."""

    def _path(self, path: str) -> bytes:
        name = os.fsencode(path)
        most = self._odd.name_max
        if most and len(os.path.basename(name)) > most:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return self._kept + name

    # What is there.

    def init_with_config(self, _connection: Any, config: Any) -> None:
        config.use_ino = self._odd.numbers != "names"
        config.hard_remove = self._odd.forgotten
        config.attr_timeout = config.entry_timeout = config.negative_timeout = 0.0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        found = os.lstat(self._path(path)) if fh is None else os.fstat(fh)
        told: dict[str, int] = {field: getattr(found, field) for field in FIELDS}
        told |= {field.removesuffix("_ns"): getattr(found, field) for field in TIMES}
        links = self._odd.folder_links if os.path.isdir(self._path(path)) else self._odd.links
        if links >= 0:
            told["st_nlink"] = links
        if self._odd.numbers == "each time":
            told["st_ino"] = next(self._number)
        return told

    def readdir(self, path: str, _fh: int) -> list[tuple[str, dict[str, int], int]]:
        with os.scandir(self._path(path)) as entries:
            found = [(os.fsdecode(entry.name), entry.inode()) for entry in entries]
        # What has number 0, the C library takes for removed.
        return [(name, {"st_ino": number}, 0) for name, number in [(".", 1), ("..", 1), *found]]

    def readlink(self, path: str) -> str:
        return os.fsdecode(os.readlink(self._path(path)))

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._path(path))
        told: dict[str, int] = {field: getattr(found, field) for field in ROOM}
        if self._odd.name_max and self._odd.known:
            told["f_namemax"] = self._odd.name_max
        return told

    # Names.

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._path(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._path(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._path(path))

    def symlink(self, path: str, target: str) -> None:
        os.symlink(target, self._path(path))

    def link(self, path: str, source: str) -> None:
        _fail(next(self._links))
        os.link(self._path(source), self._path(path))

    def rename(self, old: str, new: str, flags: int) -> None:
        if flags & NO_REPLACE:
            _fail(next(self._renames))
            if os.path.lexists(self._path(new)):
                _fail(errno.EEXIST)
        os.rename(self._path(old), self._path(new))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._path(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._path(path), uid, gid)

    # Files.

    def create(self, path: str, mode: int, flags: int) -> int:
        return os.open(self._path(path), flags | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._path(path), flags)

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
        self._written += len(data)
        self._unheard.add(fh)
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._path(path) if fh is None else fh, length)

    def flush(self, _path: str, fh: int) -> None:
        self._tell(self._odd.at_flush, fh)

    def fsync(self, _path: str, _datasync: int, fh: int) -> None:
        self._tell(self._odd.at_fsync, fh)

    def release(self, _path: str, fh: int) -> None:
        self._unheard.discard(fh)
        os.close(fh)

    def _tell(self, error: int, fh: int) -> None:
        """Keep what was written to a file, or lose half of it and say so."""
        if error and fh in self._unheard:
            self._unheard.discard(fh)
            if self._written > self._odd.room:
                os.truncate(fh, os.fstat(fh).st_size // 2)
                _fail(error)


def _shown(key: str, value: Any) -> str:
    if key in ("link", "rename"):
        return ",".join(map(errno.errorcode.__getitem__, value))
    return errno.errorcode[value] if key in ("at_flush", "at_fsync") else str(value)


def _fail(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))


def main(kept: str, folder: str, oddities: str) -> None:
    """Mount and serve ``folder`` until it is unmounted."""
    import mfusepy

    class Fuse(mfusepy.FUSE):  # type: ignore[misc] # it has no types
        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> Any:  # which forgets the flags
            return self.operations.rename(os.fsdecode(old), os.fsdecode(new), flags)

    os.umask(0)
    Fuse(OddFolder(kept, Oddities(**json.loads(oddities))), folder, foreground=True, nothreads=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
