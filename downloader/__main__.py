"""The command's entry point: patches the standard library for gevent before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command and exit with its code."""
    from gevent import config, monkey

    monkey.patch_all()
    config.track_greenlet_tree = False  # who spawned whom costs a stack walk per URL

    from downloader.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
