"""The torture's command line: rounds until the time is over, and what to say when one fails."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from support.failing import build_failing

from torture.report import Report
from torture.rounds import Round, Settings, TortureError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 40
"""Lines of problems that are printed; all of them are in the folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Torture gdl; 0 if nothing was wrong, else 1."""
    options = _parser().parse_args(arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; gdl would ignore it, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    settings = Settings(seed, options.files, options.jobs, options.split)
    folder = Path(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="gdl-torture-"))
    print(f"seed {seed}, in {folder}", flush=True)
    report = Report()
    failed = torture(settings, folder.resolve(), report, seconds=options.minutes * 60, keep=options.keep is not None)
    print(report.summary(), flush=True)
    if failed is not None:
        print(f"\nFAILED: {failed}", flush=True)
        return 1
    if not options.keep:
        folder.rmdir()
    return 0


def torture(settings: Settings, folder: Path, report: Report, *, seconds: float, keep: bool = False) -> str | None:
    """Play rounds in ``folder`` until ``seconds`` have passed; what went wrong and how to see it again, or None.

    The round that runs then is played to its end. Folders of rounds are removed unless they failed or ``keep``.
    """
    seed = settings.seed
    folder.mkdir(parents=True, exist_ok=True)
    failing = build_failing(folder) if shutil.which("cc") or os.environ.get("CI") else None
    if failing is None:
        print("no disk says late that it is full: there is no C compiler", flush=True)
    while report.rounds == 0 or report.seconds < seconds:
        settings = Settings(_seed_of(seed, report.rounds), settings.files, settings.jobs, settings.split)
        place = folder / f"round-{report.rounds + 1}-seed-{settings.seed}"
        played = Round(settings, place, report, failing)
        try:
            played.play()
        except TortureError as error:
            return _told(played, error)
        if not keep:
            shutil.rmtree(place)
    if failing is not None and not keep:
        failing.library.unlink()
    return None


def _seed_of(seed: int, number: int) -> int:
    """The seed of a round; that of the first is the one that was given, so that any round can be the first."""
    return seed if number == 0 else random.Random(f"{seed}/round/{number}").randrange(1 << 32)  # noqa: S311


def _told(played: Round, error: TortureError) -> str:
    settings = played.settings
    lines = str(error).splitlines()
    log = "\n".join([*played.log, "", *lines])
    with suppress(OSError):
        (played.folder / "failure.txt").write_text(log + "\n", "utf-8")
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    again = f"--minutes 0 --seed {settings.seed} --files {settings.files}"
    again += f" --jobs {settings.jobs} --split {settings.split}"
    return "\n".join(
        [
            *lines[:SHOWN],
            *more,
            *played.log[-2:],
            f"seed {settings.seed}; all of it is in {played.folder}",
            f"again: python -m tests.torture {again}",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Torture gdl: a server that does all that servers do wrong, and a gdl that is killed all the time.",
        epilog="A seed decides the files, what the server does with each request of a file, the options of each"
        " start and when it is killed. When what happens cannot be decided: another run with the same seed is much"
        " like the first, not the same.",
    )
    parser.add_argument("--minutes", type=float, default=2, help="begin no round after so many; default: 2")
    parser.add_argument("--seed", type=int, help="default: another each time")
    parser.add_argument("--files", type=int, default=300, help="in a round; default: 300")
    parser.add_argument("--jobs", type=int, default=16, help="-j of most starts; default: 16")
    parser.add_argument("--split", type=int, default=4, help="--split of most starts; default: 4")
    parser.add_argument("--keep", metavar="FOLDER", help="work in FOLDER and leave everything there")
    return parser
