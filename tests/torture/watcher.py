"""Looks at the output folder all the time: what is under a final name must be whole from its first appearance on."""

from __future__ import annotations

import os
import re
import stat
import threading
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Self

from torture.world import DECOY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torture.world import File, World

WORKING = re.compile(r"(^|/)\.gdl\.lock$|\.part(\.json|\.old\d*)?$")
"""What gdl may have in its folder while it runs; nothing of it may be left in the end."""
INTERVAL = 0.1
BLOCK = 256
"""Bytes that are compared at a time to tell which version they are of."""
RUNS = 20
"""Stretches of one version that a description has at most."""
NOWHERE = "no version"


class Watcher:
    """Scans a folder; ``problems`` holds what was wrong. A context manager that scans in a thread.

    Each file is read once for each inode, size and time of change, and compared with the versions, which are known
    from the seed alone: there is no race with the server.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self.problems: list[str] = []
        self.seen: dict[str, tuple[int, int, int]] = {}
        """Inode, size and time of change of what is there under final names."""
        self.wanted = len(world.files)
        self._world = world
        self._folder = folder
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self.scan()
            except OSError as error:
                self.problems.append(f"the watcher cannot look: {error}")

    def scan(self) -> None:
        """Look once at all that is there."""
        with self._lock:
            gone = set(self.seen)
            for name, entry in entries(self._folder):
                gone.discard(name)
                if not WORKING.search(name):
                    with suppress(FileNotFoundError):  # if it had been seen, the next scan says that it is gone
                        self._look(name, entry)
            for name in gone:
                del self.seen[name]
                self.problems.append(f"{name} was there as a finished file, and is gone")

    def _look(self, name: str, entry: os.DirEntry[str]) -> None:
        status, before = entry.stat(follow_symlinks=False), self.seen.get(name)
        if before == (status.st_ino, status.st_size, status.st_mtime_ns):
            return
        with open(entry.path, "rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read()
        self.seen[name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        file = self._world.by_name.get(name)
        if before is not None:
            self.problems.append(f"{name} was replaced or written to after it had been finished")
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            self.problems.append(f"{name} is no regular file")
        if file is None:
            self.problems.append(f"{name} is a name nobody asked for, of {len(data):,} bytes")
        elif self._world.identify(file, data) is None:
            self.problems.append(f"{name} is no version of its file: {describe(self._world, file, data)}")

    def missing(self) -> list[str]:
        """Final names that are not there; complete only after a `scan`."""
        return sorted(self._world.by_name.keys() - self.seen.keys())

    def leftovers(self) -> list[str]:
        """What is in the folder and should not be at the end of a run that did all."""
        return sorted(name for name, _ in entries(self._folder) if name not in self._world.by_name)


def entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files below a folder, by their paths relative to it."""
    stack = [""]
    while stack:
        prefix = stack.pop()
        with suppress(FileNotFoundError), os.scandir(folder / prefix) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}", entry


def describe(world: World, file: File, data: bytes) -> str:
    """Which bytes are of which versions, for people."""
    versions = {number: world.content(file, number) for number in [*world.versions(file), DECOY]}

    def origin(at: int) -> str:
        piece = data[at : at + BLOCK]
        found = [number for number, whole in versions.items() if whole.startswith(piece, at)]
        return "version " + " or ".join(map(str, found)) if found else NOWHERE

    runs: list[str] = []
    for said, group in groupby(range(0, len(data), BLOCK), key=origin):
        offsets = list(group)
        start, stop = offsets[0], min(len(data), offsets[-1] + BLOCK)
        if len(runs) == RUNS:
            runs.append("and so on")
            break
        elsewhere = said == NOWHERE and _elsewhere(versions, data[start : start + BLOCK])
        runs.append(f"bytes {start:,} to {stop:,} of {elsewhere or said}")
    sizes = ", ".join(f"{number}: {len(whole):,}" for number, whole in versions.items())
    return f"{len(data):,} bytes where the versions have {sizes}; " + "; ".join(runs)


def _elsewhere(versions: Mapping[int, bytes], piece: bytes) -> str | None:
    """Where in which version bytes belong that are in the wrong place."""
    places = ((number, whole.find(piece)) for number, whole in versions.items())
    return next((f"version {number}, where they are at {at:,}" for number, at in places if at >= 0), None)
