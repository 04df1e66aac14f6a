"""A try of an item asks twice where nothing proves that the first body came whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader import errors
from downloader.blocks import Ending
from downloader.doubt import doubt, replaces, settles
from downloader.framing import Framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.bodies import Aside, Whole
    from downloader.items import Address
    from downloader.transfer import Download


class Certainty:
    """What is known of the bodies of one item that may have been cut; ``note`` is told of each second request.

    The item's first doubtful try asks twice; later tries are second requests themselves.
    """

    __slots__ = ("_asked", "_download", "_marks", "_note")

    def __init__(self, download: Download, note: Callable[[str], None]) -> None:
        self._download = download
        self._note = note
        self._asked = False
        self._marks: set[bytes] = set()  # of the bodies that were doubted

    def prove(self, address: Address, deadline: float | None) -> None:
        """Have the body that has come of a try, or another one, wait to be published.

        Arguments and errors as for `transfer.Download.attempt`.
        """
        body = self._download.unproven
        if body is not None:
            try:
                self._prove(body, address, deadline)
            except BaseException:
                self._download.discard()
                raise

    def replace(self, error: errors.TransferError, framing: Framing, address: Address, deadline: float | None) -> None:
        """Have another body wait to be published in place of one that failed with ``error`` and may have been cut.

        ``framing`` told its end. Only what the second request brings counts; errors as for `prove`.
        """
        if self._asked:
            error.retryable = True
            raise error
        streamed = self._announce(address, str(error), framing)
        try:
            self._ask_again(address, deadline, http1=streamed)
        except BaseException as second:
            self._download.discard()
            if isinstance(second, errors.TransferError) and not isinstance(second, errors.DeadlineExceeded):
                second.args = (_sentence(str(error), second),)
            raise

    def _prove(self, body: Whole, address: Address, deadline: float | None) -> None:
        framing, ending = body.framing, body.ending()
        reason = doubt(framing, ending)
        if reason is None or self._is_settled(body):
            return
        if self._asked:
            if ending is Ending.MISSING:
                raise errors.BodyError(reason)
            return
        streamed = self._announce(address, reason, framing)
        head = body.head()
        aside: Aside | None = None
        if ending is Ending.MISSING:
            self._download.discard()
        else:
            aside = self._download.put_aside()
        try:
            second = self._ask_again(address, deadline, http1=streamed)
            if aside is not None and not replaces(head, body.size, second.head(), second.size, second.framing):
                self._note(f"{address.url}: the second body does not go on from the first, which is kept")
                self._download.discard()
                self._download.take_back(aside)
                aside = None
        except (errors.TransferError, errors.NoRoom) as error:
            if aside is None:
                raise _told(reason, error) from error
            self._download.take_back(aside)
            aside = None
        finally:
            if aside is not None:
                self._download.drop(aside)

    def _announce(self, address: Address, reason: str, framing: Framing) -> bool:
        """Take note of the second request, and return whether it goes over HTTP/1.1, which proves more."""
        self._asked, streamed = True, framing is Framing.UNSURE
        self._note(f"{address.url}: {reason}; asking once more" + (" over HTTP/1.1" if streamed else ""))
        return streamed

    def _ask_again(self, address: Address, deadline: float | None, *, http1: bool) -> Whole:
        self._download.attempt(address, deadline, again=True, http1=http1)
        body = self._download.body
        if self._download.unproven is not None:
            reason = doubt(body.framing, ending := body.ending())
            if reason is not None and ending is Ending.MISSING and not self._is_settled(body):
                self._download.discard()
                raise errors.BodyError(reason)
        return body

    def _is_settled(self, body: Whole) -> bool:
        """Tell whether a doubted body counts as whole because its bytes came before."""
        mark = body.fingerprint()
        known = mark in self._marks
        self._marks.add(mark)
        return known and settles(body.framing)


def _told(reason: str, error: errors.ItemError) -> errors.ItemError:
    """Return the error of a body that is cut, for ``reason``, and of which asking again brought only ``error``."""
    if isinstance(error, errors.DeadlineExceeded):
        return error
    return errors.BodyError(_sentence(reason, error))


def _sentence(reason: str, second: errors.ItemError) -> str:
    return reason if str(second) == reason else f"{reason}; asked again: {second}"
