"""What the file system tells of bytes that it took before: once, and not always to whoever asks."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from gevent import monkey

from downloader import files

if TYPE_CHECKING:
    from collections.abc import Callable

# Unpatched: threads take it, too, and none of them waits for the hub while it has it.
_allocate_lock = monkey.get_original("_thread", "allocate_lock")


class WritebackError:
    """The first error that was told of the bytes of one open file; it stays.

    A file system tells it once, when the next descriptor of the file is flushed, synced or closed. That may happen in a
    thread for which nobody waits any more, and whoever asks next would hear that all is well.
    """

    __slots__ = ("_lock", "code")

    def __init__(self) -> None:
        self.code = 0
        """Its number; 0 while none is known."""
        self._lock = _allocate_lock()

    def ask(self, call: Callable[[int], object], fd: int) -> None:
        """Flush or sync by ``call`` with ``fd``, when no other thread does. Raises OSError, also the earlier one."""
        with self._lock:
            if self.code:
                raise OSError(self.code, os.strerror(self.code))
            try:
                call(fd)
            except OSError as error:
                self.note(error)
                raise

    def close(self, fd: int) -> None:
        """Close a copy of the file's descriptor; what is told then counts, too."""
        with self._lock:
            try:
                files.close_aloud(fd)
            except InterruptedError:
                pass  # the next one will be told
            except OSError as error:
                self.note(error)

    def note(self, error: OSError) -> None:
        """Take ``error`` for one, unless there is one already."""
        self.code = self.code or error.errno or errno.EIO
