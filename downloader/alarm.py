"""One timer of the hub that is set again and again, always for the earliest of what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Calls ``ring`` on the hub at the earliest time it was set for, then forgets the others."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: Any = None
        self._due = 0.0

    def set(self, due: float, now: float) -> None:
        """Ring at ``due``, unless it will earlier anyway; both are seconds of one monotonic clock."""
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.close()
        self._due = due
        self._timer = gevent.get_hub().loop.timer(max(0.001, due - now))
        self._timer.start(self._on_timer)

    def keep(self, due: float, now: float) -> None:
        """Ring at ``due`` if it would not ring at all."""
        if self._timer is None:
            self.set(due, now)

    def close(self) -> None:
        """Ring no more. Idempotent."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _on_timer(self) -> None:
        self.close()
        self._ring()
