"""A try of an item asks twice where nothing proves that the first body came whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downloader import errors
from downloader.blocks import Ending
from downloader.doubt import doubt, settles
from downloader.framing import Framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.bodies import Aside, Whole
    from downloader.items import Address
    from downloader.transfer import Download


class Certainty:
    """What is known of the bodies of one item that may have been cut; ``note`` is told of each second request."""

    __slots__ = ("_download", "_marks", "_note")

    def __init__(self, download: Download, note: Callable[[str], None]) -> None:
        self._download = download
        self._note = note
        self._marks: set[bytes] = set()  # of the bodies that were doubted

    def prove(self, address: Address, deadline: float | None) -> None:
        """Have the body that has come of a try, or another one, wait to be published.

        Arguments and errors as for `transfer.Download.attempt`. A second request is made in the item's first doubtful
        try only: later tries are second requests themselves.
        """
        body = self._download.unproven
        if body is not None:
            try:
                self._prove(body, address, deadline)
            except BaseException:
                self._download.discard()
                raise

    def _prove(self, body: Whole, address: Address, deadline: float | None) -> None:
        framing, ending = body.reply.framing, body.ending()
        reason, first = doubt(framing, ending), not self._marks
        if reason is None or self._is_settled(body):
            return
        streamed = framing is Framing.UNSURE
        if not first:
            if ending is Ending.MISSING:
                raise errors.BodyError(reason)
            return
        self._note(f"{address.url}: {reason}; asking once more" + (" over HTTP/1.1" if streamed else ""))
        aside: Aside | None = None
        if ending is Ending.MISSING:
            self._download.discard()
        else:
            aside = self._download.put_aside()
        try:
            self._ask_again(address, deadline, http1=streamed)
        except (errors.TransferError, errors.NoRoom) as error:
            if aside is None:
                raise _told(reason, error) from error
            self._download.take_back(aside)
            aside = None
        finally:
            if aside is not None:
                self._download.drop(aside)

    def _ask_again(self, address: Address, deadline: float | None, *, http1: bool) -> None:
        self._download.attempt(address, deadline, again=True, http1=http1)
        body = self._download.unproven
        if body is None:
            return
        reason = doubt(body.reply.framing, ending := body.ending())
        if reason is not None and ending is Ending.MISSING and not self._is_settled(body):
            self._download.discard()
            raise errors.BodyError(reason)

    def _is_settled(self, body: Whole) -> bool:
        """Tell whether a doubted body counts as whole because its bytes came before."""
        mark = body.fingerprint()
        known = mark in self._marks
        self._marks.add(mark)
        return known and settles(body.reply.framing)


def _told(reason: str, error: errors.ItemError) -> errors.ItemError:
    """Return the error of a body that is cut, for ``reason``, and of which asking again brought only ``error``."""
    if isinstance(error, errors.DeadlineExceeded):
        return error
    return errors.BodyError(reason if str(error) == reason else f"{reason}; asked again: {error}")
