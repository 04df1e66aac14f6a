"""How a greenlet with much to do leaves room for the others: turns in between, and a thread for calls that may wait."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar, cast

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MOMENT = 1e-6
"""Seconds for which others get their turn: of none, the hub would make many before it looks at sockets and signals."""


def give_turn() -> None:
    """Let the hub look at sockets, timers and signals, and others do what these call for."""
    gevent.sleep(_MOMENT)


def opening(path: str, function: Callable[[], T]) -> T:
    """Call ``function``, which opens ``path``; raises what it raises.

    Opening a pipe waits for its other end. So what is no regular file is opened in a thread of the hub's, where it
    blocks the calling greenlet only. If that is killed meanwhile, the thread goes on.
    """
    try:
        at_once = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # for the function to tell
        at_once = True
    return function() if at_once else in_pool(function)


def in_pool(function: Callable[[], T]) -> T:
    """Call ``function`` in a thread of the hub's; blocks the calling greenlet only, raises what it raises."""

    def call() -> tuple[T | None, BaseException | None]:
        try:
            return function(), None
        except BaseException as error:  # noqa: BLE001 raised again in the greenlet; gevent would print it
            return None, error

    value, error = gevent.get_hub().threadpool.apply(call)
    if error is not None:
        raise error
    return cast("T", value)
