"""The command's entry point: patches the standard library for gevent before anything else is imported."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command and exit with its code."""
    _fill_standard_streams()
    from gevent import config, monkey

    # What a dependency might wait in. The rest of patch_all is never waited in here, and costs 75 ms at each start.
    monkey.patch_time()
    monkey.patch_socket()
    monkey.patch_select()
    config.track_greenlet_tree = False  # who spawned whom costs a stack walk per URL

    from downloader.cli import run

    # An item leaves no reference cycles behind, so that looking for some is a rare duty.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError, ValueError):
            stream.flush()
    # All is closed and nothing is left to tell. Tearing down what the system takes back anyway costs time, and
    # would wait for look-ups that nobody wants any more.
    os._exit(code)


def _fill_standard_streams() -> None:
    """Open what the caller closed: a file or a connection must not get the number of a standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


if __name__ == "__main__":
    main()
