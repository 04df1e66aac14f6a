"""What file descriptors a run may have, and how many transfers, connections and look-ups they are enough for."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import NamedTuple

RAISED = 4096
"""Descriptors the command asks the system for at least; macOS gives a process 256 until it asks."""
MOST_HANGING = 480
"""Look-ups of names that may hang after they were given up, each in a thread of its own."""
MOST_NAMELESS = 1024
"""Whole files that may wait for their names after their slots were freed."""
_LEAST_HANGING = 16
_LEAST_NAMELESS = 8
_REST = 96
"""What a run has open besides: its lists and records, the hub, the threads of look-ups and of waits for the disk, and
the least numbers of look-ups that hang and of files that wait for their names."""
_FOLDERS = 24
"""The output folder, for itself and for its locks, and the sub-folders that are kept open or on the way to one."""
_HELD = 3
"""What a transfer may have open besides its connection: the part, its state, a second connection being tried."""
_NAMELESS = 2
"""What a file that waits for its name has open: the part and its state."""
_IDLE = 64
"""Connections kept at least, in use and idle together."""
_MOST_IDLE = 256
"""Connections kept idle at most while all transfers are under way."""


class Room(NamedTuple):
    """What there may be at once."""

    transfers: int
    connections: int
    """In use and idle together."""
    hanging: int
    """Look-ups that go on after they were given up."""
    nameless: int
    """Whole files that wait for their names without a slot."""


def share_out(jobs: int, free: int | None) -> Room:
    """Return what ``free`` descriptors (None: more than anybody needs) are enough for, up to ``jobs`` transfers.

    Transfers come first, with an idle connection for each, so that a host whose turn comes again is not connected to
    anew; there is always one.
    """
    if free is None:
        return Room(jobs, _kept(jobs), MOST_HANGING, MOST_NAMELESS)
    free -= _REST + _FOLDERS
    most = max(free // (_HELD + 2), (free - _MOST_IDLE) // (_HELD + 1))
    transfers = max(1, min(jobs, most))
    free -= _HELD * transfers
    connections = max(transfers, min(_kept(jobs), free))
    free = max(0, free - connections)
    more = min(MOST_HANGING - _LEAST_HANGING, free // 2)
    nameless = min(MOST_NAMELESS, _LEAST_NAMELESS + (free - more) // _NAMELESS)
    return Room(transfers, connections, _LEAST_HANGING + more, nameless)


def needed(jobs: int) -> int:
    """Return how many free descriptors are enough for all that ``jobs`` transfers may make use of."""
    return _REST + _FOLDERS + _HELD * jobs + _kept(jobs) + MOST_HANGING + _NAMELESS * MOST_NAMELESS


def _kept(jobs: int) -> int:
    # Connections of hosts whose turn comes again: descriptors are cheap, but not without end.
    return max(_IDLE, jobs + min(jobs, _MOST_IDLE))


def free() -> int | None:
    """Return how many more descriptors this process may open, None for any number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        taken = len(os.listdir("/dev/fd"))
    except OSError:  # no such folder, or not even a descriptor to read it with
        taken = 0
    return max(0, limit - taken)


def raise_limit(jobs: int) -> None:
    """Ask the system for as many descriptors as ``jobs`` transfers may need; it may not give them.

    For the command only: the limit is the whole process's, and a library's program has its reasons for it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for least in (max(RAISED, needed(jobs) + _REST), RAISED):  # macOS has a limit beyond the hard one
        wanted = least if hard == resource.RLIM_INFINITY else min(least, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
