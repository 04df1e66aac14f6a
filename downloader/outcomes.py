"""What the end of a request tells of its host: pure."""

from __future__ import annotations

from enum import Enum, auto

from downloader import errors

_REFUSALS = frozenset({429, 503})
"""Statuses by which a server says that there is too much (RFC 6585 section 4, RFC 9110 section 15.6.4)."""


class Outcome(Enum):
    """What a failed request tells of its host."""

    ANSWERED = auto()
    """It is there and does its work, whatever it thinks of the request."""
    STALLED = auto()
    """It is there, but goes silent in what it has begun to send."""
    REFUSED = auto()
    """It wants fewer requests."""
    UNREACHABLE = auto()
    """It was not found, or did not let us in."""
    SILENT = auto()
    """It says nothing."""
    NOTHING = auto()
    """Nothing: the failure is of another making."""


def of(error: errors.ItemError, *, heard: bool, known: bool = False) -> Outcome:
    """Return what ``error`` tells of the host; ``heard`` is whether any response's head came before it.

    ``known``: the host has answered others, so that it is there if it only breaks a connection.
    """
    if isinstance(error, errors.StatusError) and heard:
        return Outcome.REFUSED if error.status in _REFUSALS else Outcome.ANSWERED
    if isinstance(error, errors.ConnectError):
        there = heard or (known and not isinstance(error, errors.NotConnected))
        return Outcome.REFUSED if there else Outcome.UNREACHABLE
    if isinstance(error, errors.TimedOut):
        return Outcome.STALLED if heard else Outcome.SILENT
    if not heard or not isinstance(error, errors.TransferError) or isinstance(error, errors.DeadlineExceeded):
        return Outcome.NOTHING
    return Outcome.ANSWERED
