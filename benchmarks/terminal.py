"""A terminal that nobody looks at: bars are drawn on it, and what they draw is read and dropped."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from typing import Self

ROWS, COLUMNS = 40, 120


class Terminal:
    """A pseudo-terminal while the context lasts; ``side`` is the descriptor for a command."""

    def __init__(self) -> None:
        self._controller, self.side = os.openpty()
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.received = 0
        """Bytes drawn; complete once the context is left."""
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        # The reader gets EIO once nobody has the other side open.
        os.close(self.side)
        self._reader.join()
        os.close(self._controller)

    def _read(self) -> None:
        while True:
            try:
                self.received += len(os.read(self._controller, 65536))
            except OSError:
                return
