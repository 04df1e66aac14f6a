"""When gdl is started, with which options, and when it is killed: drawn from the seed."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass
from random import Random

from support.failing import Fault

CALM = 12
"""The first start that may run to its end: before, there is too much to do that had better be interrupted."""
PATIENCE = 60
"""Starts after which gdl is not killed any more, so that the round ends."""


QUOTAS = 0.12
"""The share of gdl for which closing files fails now and then."""

GRACE = 2.0
"""Seconds that those are given more, to close some files before they are killed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One gdl."""

    options: tuple[str, ...]
    begins: float
    """Seconds after the start it belongs to."""
    signal: signal.Signals | None
    """What ends it, None where it may run to its end."""
    after: float
    """Seconds from its beginning to the signal."""
    quota: tuple[Fault, ...] = ()
    """What its disk says when files are closed, which is when network disks tell of a quota or a lack of room."""

    def __str__(self) -> str:
        ended = f", {self.signal.name} after {self.after:.2f} s" if self.signal else ""
        begun = f"{self.begins:.2f} s later: " if self.begins else ""
        full = f", on a disk with {' '.join(map(str, self.quota))}" if self.quota else ""
        return f"{begun}gdl {' '.join(self.options)}{ended}{full}"


def draw(seed: int, number: int, *, jobs: int, split: int) -> tuple[Launch, ...]:
    """What start ``number`` (from 1) starts: one gdl, or two that work in the same folder at once.

    ``jobs`` and ``split`` are what most of them get.
    """
    rng = Random(f"{seed}/start/{number}")  # noqa: S311
    count = 2 if rng.random() < 0.2 and number <= PATIENCE else 1
    return tuple(_launch(rng, other, number, jobs, split) for other in range(count))


def _launch(rng: Random, other: int, number: int, jobs: int, split: int) -> Launch:
    options = ["-j", str(rng.choice((jobs, jobs, max(1, jobs // 4), 2 * jobs)))]
    options += ["--split", str(rng.choice((split, split, 1, 2 * split)))]
    options += ["--timeout", rng.choice(("1", "2", "2")), "--retries", "3", "--progress", "none", "--json"]
    if rng.random() < 0.15:
        options.append("--fsync")
    if rng.random() < 0.25:
        options += ["--checksum-algorithm", "sha256"]
    weights = (70, 15, 15, 0 if number < CALM else 60)
    [ended] = rng.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None), weights)
    after = rng.uniform(0.2, 3) if rng.random() < 0.92 else rng.uniform(3, 8)
    begins = rng.uniform(0, 1.5) if other else 0.0
    calm = number > PATIENCE
    quota = _quota(rng) if rng.random() < QUOTAS and not calm else ()
    after += GRACE if quota else 0.0
    return Launch(tuple(options), begins, None if calm else ended, after, quota)


def _quota(rng: Random) -> tuple[Fault, ...]:
    """Failures of closing: of a few files, of all from one on, or of one kind of them."""
    code = rng.choice((errno.EDQUOT, errno.ENOSPC))
    # Parts of large files, files without a name, those under their final names, and all that there are.
    path = rng.choice((".part$", "(deleted)$", ".part.json$", "", ""))
    if rng.random() < 0.5:
        return (Fault("close", code, path, f"{rng.randrange(1, 10)}+"),)
    return tuple(Fault("close", code, path, str(number)) for number in sorted(rng.sample(range(1, 15), 4)))
