"""One file put together on disk: the bodies of several responses, each written where it belongs.

The item's own greenlet writes what its first response brings, and may have help: further greenlets take halves of
what is left, each with a request for exactly its range, as long as the scheduler has a slot to spare. The failure of
a helper does not fail the file: what it wrote stays, what it did not write is taken up by the next greenlet that is
done, and a helper that is refused or answered wrongly ends, with no further ones for this file. So a server that
cannot send ranges costs one request.

`Assembly.write` runs inside libcurl on the hub: it decides and writes, nothing else.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from downloader import errors, resume, verdict
from downloader.bodies import Enough
from downloader.fetch import Misfit, RangeFetch
from downloader.files import boot_id
from downloader.segments import MIN_PIECE, Piece, Segments, worth
from downloader.tail import LEAST_LEFT

if TYPE_CHECKING:
    from downloader.bodies import Source
    from downloader.context import Context
    from downloader.digests import Digests
    from downloader.hosts import Ticket
    from downloader.items import Item, Running
    from downloader.partfile import Part
    from downloader.responses import Head
    from downloader.resume import Plan
    from downloader.tail import Slots


FIRST_PIECE = 2 * MIN_PIECE
"""Bytes of a helper's first request, before anything is known of the server."""


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
        source = self._source
        state = resume.remember(
            head,
            url=source.origin.url,
            answered=source.address.url,
            total=total,
            checksum=item.checksum,
            boot=boot_id(),
        )
        self.part.begin(state)
        self.segments = Segments(total)
        piece = self.segments.take() or Piece(0, 0)  # of nothing there is nothing to take
        if head.takes_ranges:
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
        state.answered = resume.resource(self._source.address.url)
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
            options = self._context.options
            self.segments.most = FIRST_PIECE
            if options.split != "auto":
                self._most = options.split
                self._get_help()
            elif self.left >= LEAST_LEFT and not options.pause:
                self._most = options.jobs
                self._slots.share(self)

    def write(self, piece: Piece, chunks: list[bytes], size: int, limit: int | None) -> None:
        """Write ``size`` bytes of a response that brings those up to ``limit`` (None: unknown) to ``piece``.

        Raises `Enough` where the further bytes that it brings belong to another piece by now.
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
            if self._context.options.split != "auto":
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
                    self._slots.await_turn(self._source.deadline)
                    self._fetch(piece, self._slots.begin())
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
        self._slots.unshare(self)
        self._most = 1
        if self._helpers:
            gevent.killall(list(self._helpers))
        for helper in list(self._helpers):  # those that were killed before their first step
            self._forget(helper)
        self.save()

    # Helpers.

    @property
    def host(self) -> str:
        """The host that is asked."""
        return self._slots.name

    @property
    def received(self) -> int:
        """Bytes that have come in this try."""
        return self._running.received - self._running.resumed

    @property
    def transfers(self) -> int:
        """Greenlets that work on the file, the item's own included."""
        return 1 + len(self._helpers)

    def _get_help(self) -> None:
        while self.help():
            pass

    def help(self) -> bool:
        """Have one more greenlet work on the file; False where there is no work or no slot for it."""
        if self.transfers >= self._most or not self.segments.splittable or not self._slots.borrow():
            return False
        piece = self.segments.take()
        assert piece is not None
        # It takes its first step later, so that of several at once each asks for no more than is its own then.
        self._helpers[gevent.spawn(self._help, piece)] = piece
        return True

    def do_without_help(self) -> None:
        """Have no more greenlets work on the file; those that do end with what they fetch now."""
        self._most = 1

    def _help(self, piece: Piece) -> None:
        helper = gevent.getcurrent()
        ticket = self._slots.begin()
        try:
            while self._most > 1:
                self._fetch(piece, ticket)
                taken = self.segments.take() if self._slots.may_go_on() else None
                if taken is None:
                    break
                self._helpers[helper] = piece = taken
                ticket = self._slots.begin()
        except Misfit:
            self._most = 1
        except errors.ItemError as error:
            # What was refused or broke need not be the last: go on with one less.
            self._most = max(1, min(self._most, len(self._helpers)))
            self._slots.failed(ticket, error)
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

    def _fetch(self, piece: Piece, ticket: Ticket) -> None:
        """Ask for the range of ``piece`` and write it; afterwards the piece is free."""
        context, source, state = self._context, self._source, self.part.state
        assert piece.end is not None
        assert state is not None
        try:
            ask = resume.ask(state, (piece.at, piece.end), url=source.origin.url)
            wanted = source.request(self._item, context, ask)
            fetch = RangeFetch(ask, context.options, self._running, partial(self.write, piece))
            asked = time.monotonic()
            took: float | None = None
            try:
                took = context.transport.perform(wanted, fetch, host=self._slots.name).took
                fetch.gatherer.flush()
            except Enough:
                pass
            except errors.TransferError as error:
                with suppress(Enough):
                    fetch.gatherer.flush()
                source.check(error, context.options.max_time)
                if fetch.answer is None or isinstance(fetch.answer, verdict.Continue):
                    raise
            fetch.check(piece)
            self._learn(fetch.begun - asked, time.monotonic() - fetch.begun, piece.at - piece.start)
            self._slots.answered(ticket, took, piece.at - piece.start)
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
