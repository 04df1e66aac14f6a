"""The command's entry point: patches the standard library for gevent before anything else is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any


def main() -> None:
    """Run the command and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the console takes over there is nothing to end cleanly, and a traceback tells nobody anything.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _fill_standard_streams()
    gc.disable()  # what is imported stays
    from gevent import config, monkey

    _patch(monkey)
    config.track_greenlet_tree = False  # who spawned whom costs a stack walk per URL

    from downloader.cli import run

    # An item leaves no reference cycles behind, so that looking for some is a rare duty. It keeps everybody else
    # waiting, about a microsecond for each object that is looked at: so these are few, and hardly ever old ones.
    gc.freeze()
    gc.set_threshold(2_000, 5, 5_000)
    gc.enable()
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError, ValueError):
            stream.flush()
    # All is closed and nothing is left to tell. Tearing down what the system takes back anyway costs time, and
    # would wait for look-ups that nobody wants any more.
    os._exit(code)


def _patch(monkey: Any) -> None:
    """Make cooperative what a dependency might wait in: the rest of patch_all would cost 75 ms at each start."""
    for name in ("time", "socket", "select"):
        try:
            # As patch_time() and the like do, but without asking all installed packages whether they want to know of
            # it, which takes 30 ms.
            monkey.patch_module(
                import_module(name),
                import_module(f"gevent.{name}"),
                _patch_kwargs={"aggressive": True},
                _notify_will_subscribers=False,
                _notify_did_subscribers=False,
            )
        except TypeError:  # another gevent's parameters
            getattr(monkey, f"patch_{name}")()


def _fill_standard_streams() -> None:
    """Open what the caller closed: a file or a connection must not get the number of a standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


if __name__ == "__main__":
    main()
