"""Which of an item's addresses is asked next, and when: a policy that is a value.

An item has addresses: its URL and the mirrors of it. They are asked in rounds. What follows a failed try:

- ``--max-time`` is over, or our side failed for good: nothing.
- Our side failed in a way that may pass, as when the part was removed: the same address, after a backoff.
- The host as a whole had too many requests, and the address is the round's last: the same address, when the host may be
  asked again; no retry is used up.
- The try brought the file further and what ended it may pass: the same address, soon, and no retry is used up.
- What is on disk can be continued from this address only, and the failure may pass: the same address, after a
  backoff, as long as there are retries.
- Otherwise: the next address of the round, at once. At the end of the round: the address whose bytes had the wrong
  checksum, once more and at once, where only one had so far; then another round of those whose failures may pass,
  after a backoff.

Every backoff uses up a retry. So with n addresses and r retries there are at most n * (r + 1) + 1 tries, and one more
for each that brought the file further.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from downloader.errors import ChecksumMismatch, DeadlineExceeded, NoRoom, TransferError
from downloader.resume import RESUME_FROM
from downloader.retry import BASE, CAP, PATIENCE

if TYPE_CHECKING:
    from downloader.errors import ItemError

_DOUBLINGS = 16
"""More of them than it takes from BASE to CAP, and no more than a float can hold."""


class Tries(NamedTuple):
    """The try that runs now, and what an item has left after it."""

    left: int
    """Retries left."""
    attempt: int = 1
    """The number of the try, from 1."""
    address: int = 0
    """The number of the address it asks: 0 for the item's URL, from 1 for its mirrors."""
    ahead: tuple[int, ...] = ()
    """The addresses that this round has yet to ask."""
    passing: tuple[tuple[int, float | None], ...] = ()
    """The addresses whose failures in this round may pass, each with its Retry-After in seconds."""
    waits: int = 0
    """Backoffs since the file was last brought further."""
    mismatches: int = 0
    """How often the checksum was wrong."""
    suspect: int | None = None
    """The address that gave the only wrong checksum so far, until it is asked once more."""

    @classmethod
    def first(cls, addresses: int, retries: int) -> Tries:
        """Return the first try of an item with so many addresses (at least 1) and retries."""
        return _first(addresses, retries)

    def next(
        self, error: ItemError, *, progressed: bool, bound: bool, jitter: float, free: bool = False
    ) -> tuple[Tries, float] | None:
        """Return the next try after ``error``, and the seconds to wait before it; None where none may help.

        ``progressed``: this try brought the file further than any before it, by an amount that is worth a request.
        ``bound``: what is on disk can be continued from this address only. ``free``: it was no fault of this item that
        its host had too much to do. ``jitter`` is a number from 0 to 1 drawn
        by the caller; it spreads tries that failed together.
        """
        if isinstance(error, DeadlineExceeded):
            return None
        theirs = isinstance(error, TransferError | NoRoom)  # another address may have a smaller file
        may_pass = error.retryable and (error.retry_after or 0.0) <= PATIENCE
        now = self._replace(waits=0) if progressed else self
        if may_pass and theirs and free and not self.ahead:
            return now._replace(attempt=now.attempt + 1), 0.0 if error.retry_after else _delay(0, None, jitter)
        if may_pass and theirs and progressed:
            return now._replace(attempt=now.attempt + 1), _delay(0, error.retry_after, jitter)
        if may_pass and now.left > 0 and (bound or not theirs):
            return _backed_off(now, error.retry_after, jitter)
        return _moved_on(now, error, may_pass=may_pass, jitter=jitter) if theirs else None


class Headway:
    """What the tries of one item have brought on disk, as far as that decides on the next."""

    __slots__ = ("_bound_to", "_most", "progressed")

    def __init__(self) -> None:
        self.progressed = False
        """Whether the last try brought the file further than any before by what is worth continuing."""
        self._most = 0
        self._bound_to: str | None = None

    def begin(self) -> None:
        """A try begins."""
        self.progressed = False

    def found(self, there: int) -> None:
        """So many bytes were there before this run."""
        self._most = max(self._most, there)

    def ended(self, url: str, there: int, *, kept: bool, provable: bool) -> None:
        """A try of ``url`` has left ``there`` bytes, though it may go on; ``kept``: to be continued.

        ``provable``: from any address.
        """
        self.progressed = self.progressed or (kept and there >= self._most + RESUME_FROM)
        if kept:
            self._most = max(self._most, there)
        self._bound_to = url if kept and not provable else None

    def bound(self, url: str) -> bool:
        """Whether what is on disk can be continued from ``url`` and from nowhere else."""
        return self._bound_to is not None and self._bound_to == url


def _moved_on(tries: Tries, error: ItemError, *, may_pass: bool, jitter: float) -> tuple[Tries, float] | None:
    """The next one of the round; where it is over, the first of another."""
    passing, mismatches, suspect = tries.passing, tries.mismatches, tries.suspect
    if may_pass:
        passing = (*passing, (tries.address, error.retry_after))
    if isinstance(error, ChecksumMismatch):
        mismatches += 1
        suspect = tries.address if mismatches == 1 else None
    after = tries._replace(passing=passing, mismatches=mismatches, suspect=suspect)
    if tries.ahead:
        return after._replace(attempt=tries.attempt + 1, address=tries.ahead[0], ahead=tries.ahead[1:]), 0.0
    if suspect is not None:
        return after._replace(attempt=tries.attempt + 1, address=suspect, suspect=None), 0.0
    if not passing or tries.left <= 0:
        return None
    # Who wants to be left alone longest is asked last; else the order of the list counts.
    first, *others = (address for _, address in sorted((wish or 0.0, address) for address, wish in passing))
    wishes = [wish for _, wish in passing if wish is not None]
    wish = min(wishes) if len(wishes) == len(passing) else None
    return _backed_off(after._replace(address=first, ahead=tuple(others), passing=()), wish, jitter)


def _backed_off(tries: Tries, retry_after: float | None, jitter: float) -> tuple[Tries, float]:
    """The same address after a backoff, which uses up a retry."""
    again = tries._replace(left=tries.left - 1, attempt=tries.attempt + 1, waits=tries.waits + 1)
    return again, _delay(tries.waits, retry_after, jitter)


def _delay(waits: int, retry_after: float | None, jitter: float) -> float:
    """The seconds to wait after so many waits: what the server asked for, else exponential backoff."""
    backoff: float = min(CAP, BASE * 2.0 ** min(waits, _DOUBLINGS)) * (0.5 + jitter / 2)
    if retry_after is not None:
        return retry_after + min(backoff, 1.0) * jitter
    return backoff


@lru_cache(maxsize=64)
def _first(addresses: int, retries: int) -> Tries:
    # Values can be shared: nearly all items of a run begin with the same one.
    return Tries(left=retries, ahead=tuple(range(1, addresses)))
