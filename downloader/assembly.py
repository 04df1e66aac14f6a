"""One file put together on disk: the bodies of several responses, each written where it belongs.

The item's own greenlet writes what its first response brings, and may have help: further greenlets take halves of
what is left, each with a request for exactly its range, as long as the scheduler has a slot to spare. Who helps
answers to nobody: what it wrote stays, what it did not is taken up by whoever is done first, and one that is refused
or answered wrongly ends, with no more of its kind for this file. So a server that cannot do it costs one request.

`Assembly.write` runs inside libcurl on the hub: it decides and writes, nothing else.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.event import Event

from downloader import errors, resume, verdict
from downloader.bodies import Enough, late
from downloader.fetch import Misfit, RangeFetch
from downloader.files import boot_id
from downloader.segments import MIN_PIECE, Piece, Segments, worth
from downloader.transport import Unheard

if TYPE_CHECKING:
    from downloader.bodies import Source
    from downloader.context import Context
    from downloader.digests import Digests
    from downloader.items import Item, Running
    from downloader.partfile import Part
    from downloader.responses import Head
    from downloader.resume import Plan


FIRST_PIECE = 2 * MIN_PIECE
"""Bytes of a helper's first request, before anything is known of the server."""


class Slots(Protocol):
    """Where a file's helpers get their slots from, and where they tell of a host's refusals."""

    def borrow(self) -> bool:
        """Take a slot of the item's host if one is free that nobody waits for."""

    def give_back(self) -> None:
        """Return a borrowed slot."""

    def wanted(self) -> bool:
        """Tell whether an item waits for a slot like the borrowed one."""

    def refused(self, error: errors.ItemError, final_url: str | None = None) -> None:
        """The host, or the one of ``final_url``, answered with ``error``, which may ask to leave it alone."""


class Assembly:
    """The bytes of ``item`` in ``part``; made when the first of them are to be written."""

    def __init__(
        self,
        context: Context,
        item: Item,
        running: Running,
        part: Part,
        *,
        digests: Digests | None,
        source: Source,
        slots: Slots,
    ) -> None:
        self.part = part
        self.segments = Segments(None)
        self._context = context
        self._item = item
        self._running = running
        self._digests = digests
        self._source = source
        self._slots = slots
        self._most = 1
        self._worth = float(FIRST_PIECE)
        self._helpers: dict[Any, Piece] = {}
        self._ended = Event()
        self._fatal: BaseException | None = None

    def begin(self, head: Head, total: int | None) -> Piece:
        """Begin the file with a response that brings all of it; return what that is to write to."""
        item = self._item
        state = resume.remember(head, url=self._source.origin.url, total=total, checksum=item.checksum, boot=boot_id())
        self.part.begin(state)
        self.segments = Segments(total)
        piece = self.segments.take() or Piece(0, 0)  # of nothing there is nothing to take
        if (head.get("accept-ranges") or "").lower() == "bytes":
            self._split()
        return piece

    def go_on(self, plan: Plan) -> Piece:
        """Go on as planned, with a response to its request; return as `begin`."""
        state = self.part.state
        assert state is not None
        if state.url != self._source.origin.url:  # two servers' bytes: only a checksum can prove them now
            state.etag = state.last_modified = None
            state.checksum = str(self._item.checksum)
        state.done = plan.done
        self.part.go_on(boot_id())
        self.segments = Segments(state.total, plan.done)
        piece = self.segments.take_at(plan.ask.start)
        assert piece is not None
        self._split()
        return piece

    def _split(self) -> None:
        """Get help, now that the server has shown that it can send ranges, if it can prove what they are of."""
        state = self.part.state
        if state is not None and state.continuable and (state.etag or state.last_modified):
            self._most = self._context.options.split
            self.segments.most = FIRST_PIECE
            self._get_help()

    def write(self, piece: Piece, chunks: list[bytes], size: int, limit: int | None) -> None:
        """Write ``size`` bytes of a response that brings those up to ``limit`` (None: unknown) to ``piece``.

        Raises `Enough` where the others it brings are somebody else's by now.
        """
        if self._fatal is not None:
            raise self._fatal
        if limit is not None and piece.at + size > limit:
            # What came before the surplus is as doubtful as the response.
            self.part.discard()
            self._fatal = errors.BodyError("the server sent more bytes than it promised")
            raise self._fatal
        segments = self.segments
        room = segments.room(piece)
        while room is not None and size > room:
            if room:
                now, chunks = _divided(chunks, room)
                self._put(piece, now, room)
                size -= room
            if not segments.extend(piece, limit):
                raise Enough
            room = segments.room(piece)
        self._put(piece, chunks, size)
        if self.part.due:
            self.save()
            self._get_help()
        if piece.at == piece.end and limit is not None and piece.at < limit and not segments.extend(piece, limit):
            raise Enough

    def _put(self, piece: Piece, chunks: list[bytes], size: int) -> None:
        self.part.write(chunks, piece.at)
        if self._digests is not None:
            self._digests.update(piece.at, chunks)
        self.segments.advance(piece, size)
        if self.segments.total is None:
            error = verdict.check_size(self.segments.received, self._context.options, complete=False)
            if error is not None:
                raise error

    def save(self) -> None:
        """Have the part's state tell what is there."""
        if self.part.state is not None:
            self.part.state.done = self.segments.done
            self.part.save()

    @property
    def continuable(self) -> bool:
        """Whether what is there may be continued by a later request."""
        self.save()
        return self.part.worth_keeping

    @property
    def left(self) -> int:
        """Bytes that are still to be written."""
        return 0 if self.segments.total is None else self.segments.total - self.segments.received

    # In the item's greenlet.

    def end(self, piece: Piece, promised: int | None) -> int:
        """The first response has ended, which ``promised`` the bytes up to there; return the file's size.

        Raises `errors.BodyError` where it brought less.
        """
        if promised is not None and piece.end is not None and piece.at < min(promised, piece.end):
            wanted, came = promised - piece.start, piece.at - piece.start
            raise errors.BodyError(f"the server promised {wanted:,} bytes and sent {came:,}")
        self.segments.release(piece)
        self.segments.finish()
        return self.segments.total or 0

    def finish(self) -> None:
        """Fetch what the first response did not bring, and wait for those who help.

        Raises `errors.ItemError` or `errors.StopRun` where it cannot be had now.
        """
        segments = self.segments
        failure: errors.ItemError | None = None
        while not segments.complete:
            piece = segments.take() if failure is None else None
            if piece is not None:
                try:
                    self._fetch(piece)
                except errors.TransferError as error:
                    failure = error
            elif self._helpers:
                self._ended.clear()
                self._ended.wait()
            elif failure is not None:
                raise failure
            if self._fatal is not None:
                raise self._fatal
        if self._fatal is not None:
            raise self._fatal
        self.stop()

    def do_without(self, piece: Piece, failure: errors.TransferError) -> None:
        """The first response broke with ``failure``: see whether the others bring the rest. Raises it if not."""
        if self.segments.room(piece) == 0:  # it brought all of its own: so it is more than the rest that is wrong
            raise failure
        self.segments.release(piece)
        while self._helpers and not self.segments.complete:
            self._ended.clear()
            self._ended.wait()
            if self._fatal is not None:
                raise self._fatal
        if not self.segments.complete:
            raise failure

    def stop(self) -> None:
        """End all help, and know what is there."""
        self._most = 1
        if self._helpers:
            gevent.killall(list(self._helpers))
        for helper in list(self._helpers):  # those that were killed before their first step
            self._forget(helper)
        self.save()

    # Helpers.

    def _get_help(self) -> None:
        """Have more greenlets work on the file, where there is work and a slot for them."""
        started: list[Piece] = []
        while 1 + len(self._helpers) + len(started) < self._most and self.segments.splittable:
            if not self._slots.borrow():
                break
            piece = self.segments.take()
            if piece is None:
                self._slots.give_back()
                break
            started.append(piece)
        # All are cut before the first is asked for, so that each asks for no more than its own.
        for piece in started:
            self._helpers[gevent.spawn(self._help, piece)] = piece

    def _help(self, piece: Piece) -> None:
        helper = gevent.getcurrent()
        try:
            while self._most > 1:
                self._fetch(piece)
                taken = None if self._slots.wanted() else self.segments.take()
                if taken is None:
                    break
                self._helpers[helper] = piece = taken
        except Misfit:
            self._most = 1
        except errors.ItemError as error:
            # What was refused or broke need not be the last: go on with one less.
            self._most = max(1, min(self._most, len(self._helpers)))
            self._slots.refused(error, self._source.address.url)
        except gevent.GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 raised again in the item's greenlet
            self._fatal = error
        finally:
            self._forget(helper)

    def _forget(self, helper: Any) -> None:
        self.segments.release(self._helpers.pop(helper))
        self._slots.give_back()
        self._ended.set()

    def _fetch(self, piece: Piece) -> None:
        """Ask for the range of ``piece`` and write it; afterwards nobody fetches it."""
        context, source, state = self._context, self._source, self.part.state
        assert piece.end is not None
        assert state is not None
        try:
            ask = resume.ask(state, (piece.at, piece.end), url=source.origin.url)
            wanted = source.request(self._item, context, ask)
            fetch = RangeFetch(ask, context.options, self._running, partial(self.write, piece))
            asked = time.monotonic()
            try:
                context.transport.perform(wanted, fetch)
                fetch.gatherer.flush()
            except Enough:
                pass
            except errors.TransferError as error:
                with suppress(Enough):
                    fetch.gatherer.flush()
                if isinstance(error, errors.TimedOut) and source.over:
                    raise late(context.options.max_time) from error
                heard = not isinstance(error, Unheard)  # else its range has said the same as its length
                if heard and (fetch.answer is None or isinstance(fetch.answer, verdict.Continue)):
                    raise
            fetch.check(piece)
            self._learn(fetch.begun - asked, time.monotonic() - fetch.begun, piece.at - piece.start)
        finally:
            self.segments.release(piece)

    def _learn(self, waited: float, took: float, size: int) -> None:
        """Take note that ``size`` bytes were waited for and took so many seconds, for the size of later pieces."""
        self._worth = worth(self._worth, waited, took, size)
        self.segments.fit(self._worth)


def _divided(chunks: list[bytes], size: int) -> tuple[list[bytes], list[bytes]]:
    """Divide ``chunks`` after ``size`` bytes."""
    joined = b"".join(chunks)
    return [joined[:size]], [joined[size:]]
