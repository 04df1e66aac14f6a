"""One item to one file: request, redirects, what of an earlier try can be used, checks.

The states of an attempt, each with what takes body bytes in it::

    asked ── begin(head) ──▶ judging ── enough bytes ──▶ writing ── body complete ──▶ checked ── publish() ──▶ saved
                 │  │           └── not media, too large, exists ──▶ raised
                 │  └── 206 that continues the part ──▶ writing
                 └── redirect, failure, or a 206 that does not fit ──▶ ignoring ──▶ next request, or raised

A body of up to `bodies.GATHER` bytes stays in memory until it is complete; a larger one becomes an `Assembly`.
`begin` and `write` run inside libcurl on the hub, so they only decide and write; waiting for a name (`publish`)
happens in the item's greenlet.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from downloader import errors, media, naming, spans, verdict
from downloader.assembly import Assembly
from downloader.bodies import IGNORED, Enough, Gatherer, Source
from downloader.destination import Destination, Undecided
from downloader.digests import digests_of
from downloader.encodings import Decoder
from downloader.items import Progress, Saved
from downloader.transport import Unheard
from downloader.tries import Headway

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.context import Context, Name
    from downloader.digests import Digests
    from downloader.items import Address, Checksum, Running
    from downloader.responses import Head
    from downloader.resume import Plan
    from downloader.segments import Piece
    from downloader.tail import Slots
    from downloader.transport import Reply

_Answer: TypeAlias = "verdict.Save | verdict.Continue | verdict.Unfit | verdict.Redirect | errors.ItemError"


class _Continuable(Exception):
    """The response has told the file's name, and a part of it lies there: ask for the rest instead."""


class Download:
    """All tries of one item: ``attempt`` until it returns, then ``publish``; ``abandon`` in any case.

    ``progress`` tells what the responses said so far, ``destination`` has the file, ``headway`` knows how far it came.
    ``reply`` is the last response that came whole.
    """

    def __init__(self, context: Context, name: Name, running: Running, slots: Slots) -> None:
        self.progress = Progress()
        self.headway = Headway()
        self.reply: Reply | None = None
        self._context = context
        self._name, self._item = name, name.item
        self._running = running
        self._slots = slots
        self.destination = Destination(context, name, running)
        self._source: Source
        self._gatherer: Gatherer
        self._sink: Callable[[bytes], None]
        self._plan: Plan | None = None
        self._assembly: Assembly | None = None
        self._piece: Piece | None = None
        self._digests: Digests | None = None
        self._checked: tuple[Checksum, ...] = ()

    def _begin_exchange(self) -> None:
        self._answer: _Answer | None = None
        self._decoder: Decoder | None = None
        self._sink = self._ignore
        self._first = b""
        self._gatherer = Gatherer(self._write_out)
        self._running.restart()
        self.reply = None

    def attempt(self, address: Address, deadline: float | None) -> None:
        """Ask ``address`` once, following redirects; afterwards the whole and checked file waits to be published.

        ``deadline`` is a time of the monotonic clock. Raises `Skip`, or an `errors.ItemError` that says whether
        another attempt may help; an unfinished part is then kept or removed as it deserves.
        """
        self._source = Source(address, address, deadline)
        self._piece = self._digests = None
        self.headway.begin()
        try:
            self._plan = self.destination.plan(address.url)
            while isinstance(answer := self._ask(), verdict.Redirect):
                self._source.follow(answer.location, insecure=self._context.options.insecure)
                took, size = (None, 0) if self.reply is None else (self.reply.took, self.reply.size)
                with self._source.timer(self._context.options.max_time):
                    self._slots.follow(self._source.address.url, took, size)
            if isinstance(answer, errors.ItemError):
                raise answer
            self._complete(answer)
        except BaseException:
            self._close()
            raise

    def _ask(self) -> verdict.Save | verdict.Continue | verdict.Redirect | errors.ItemError:
        context, source = self._context, self._source
        unheard = False
        while True:
            self._begin_exchange()
            self._slots.await_turn(source.deadline)
            wanted = source.request(self._item, context, None if self._plan is None else self._plan.ask)
            try:
                self.reply = context.transport.perform(wanted, self)
            except Enough:
                pass
            except Undecided:
                self.destination.decide()
                continue
            except _Continuable:
                continue
            except errors.TransferError as error:
                if isinstance(error, Unheard):
                    if (believed := self._believed()) is not None:
                        return believed
                    if not unheard and isinstance(self._answer, verdict.Save):
                        # What is worth continuing is there now: then its last byte is enough to tell.
                        unheard = True
                        self._close()
                        self._plan = self.destination.plan(source.origin.url)
                        continue
                self._broken(error)
            if self._answer is None:
                raise errors.ProtocolError("the server sent no answer")
            if not isinstance(self._answer, verdict.Unfit):
                return self._answer
            context.note(f"{self._item.url}: {self._answer.reason}; asking for all of it")
            self._plan = None

    def _believed(self) -> verdict.Save | verdict.Continue | None:
        """Return what a body was that is taken for whole, though nobody listened whether there was more."""
        if isinstance(self._answer, verdict.Save) and self._assembly is not None:
            self._write_rest()
            return None if self._assembly.continuable else self._answer  # asking for all of so much tells no more
        return self._answer if isinstance(self._answer, verdict.Continue) else None  # a range told what its length did

    def _broken(self, error: errors.TransferError) -> None:
        """Raise what a broken exchange means, if it means anything."""
        self._write_rest()
        self._source.check(error, self._context.options.max_time)
        # A redirect or a refusal counts whatever became of its body.
        if self._answer is not None and not isinstance(self._answer, verdict.Save | verdict.Continue):
            return
        if self._assembly is None or self._piece is None:
            raise error
        self._assembly.do_without(self._piece, error)

    # On the hub, inside libcurl: decide and write, nothing else.

    def begin(self, head: Head) -> bool:
        """Take a response's head and decide what its body is; False where that does not matter."""
        progress, running = self.progress, self._running
        self._slots.heard()
        progress.http_status = head.status
        progress.final_url = self._source.address.url
        progress.content_type = head.content_type
        self._head = head
        ask = None if self._plan is None else self._plan.ask
        self._answer = answer = verdict.decide(head, self._context.options, now=time.time(), ask=ask)
        if isinstance(answer, verdict.Save):
            if ask is not None:
                self._context.note(f"{self._item.url}: the server sends all of it, begun again")
            running.total = answer.total
            self._sink = self._judge
            if head.encoded:
                self._decoder = Decoder(head.get("content-encoding") or "")
            return True
        if isinstance(answer, verdict.Continue) and self._plan is not None:
            running.total = answer.total
            running.received = running.resumed = spans.covered(self._plan.done)
            self._sink = self._go_on if answer.start else self._judge
            return True
        return False

    def write(self, chunk: bytes) -> None:
        """Take body bytes."""
        if self._decoder is not None:
            for piece in self._decoder.decode(chunk):
                self._running.received += len(piece)
                self._sink(piece)
            return
        self._running.received += len(chunk)
        self._sink(chunk)

    def _ignore(self, _chunk: bytes) -> None:
        if self._running.received > IGNORED or (self._head.content_length or 0) > IGNORED:
            raise Enough

    def _judge(self, chunk: bytes) -> None:
        self._first += chunk
        total = self._running.total
        wanted = media.HEAD_BYTES if total is None else min(media.HEAD_BYTES, total)
        if (len(self._first) >= wanted or media.enough(self._first)) and self._welcome(self._first, ended=False):
            self._begin_file()

    def _go_on(self, chunk: bytes) -> None:
        part, plan = self.destination.part, self._plan
        assert part is not None
        assert plan is not None
        # The first missing range begins where the first one that is there ends.
        self._welcome(part.read(0, min(media.PAGE_BYTES, plan.ask.start)), ended=True)
        self._first = chunk
        self._begin_file()

    def _begin_file(self) -> None:
        first, self._first = self._first, b""
        self._sink = self._gatherer.take
        self._gatherer.take(first)

    def _welcome(self, first: bytes, *, ended: bool) -> bool:
        """Judge a file's ``first`` bytes and name it; False where more of them may tell more (not if ``ended``)."""
        total = self._running.total
        name = self._name.wanted or naming.from_url(self._item.url)
        size, accept = self._running.received if ended else None, self._context.options.accept
        judged = verdict.judge(first, self._head, name=name, accept=accept, total=total, size=size)
        if judged is None:
            return False
        again = isinstance(self._answer, verdict.Continue)
        # What continues a file that was welcome need not say once more of what type it is.
        if judged.refusal is not None and not (again and self._head.content_type is None):
            raise errors.NotMedia(judged.refusal)
        self.progress.content_type = judged.type or self.progress.content_type
        self.destination.call_it(
            disposition=self._head.get("content-disposition"),
            extension=judged.extension,
            final_url=self._source.address.url,
            again=again,
        )
        if not again:
            self._go_on_if(self.destination.better(self._source.origin.url, self._head))
        self._digests = digests_of(self._item, self._context.options)
        return True

    def _go_on_if(self, plan: Plan | None) -> None:
        if plan is not None:
            self._plan = plan
            raise _Continuable

    def _write_out(self, chunks: list[bytes], size: int) -> None:
        assembly = self._assembly or self._assemble()
        assert self._piece is not None
        assembly.write(self._piece, chunks, size, self._end)

    @property
    def _end(self) -> int | None:  # of what the response brings
        return self._answer.end if isinstance(self._answer, verdict.Continue) else self._running.total

    def _assemble(self) -> Assembly:
        """Open the file to write to, now that there is something to write."""
        context, item, running = self._context, self._item, self._running
        known = self.destination.part is not None
        part = self.destination.open(running.total, there=running.resumed)
        if not known:
            self._go_on_if(self.destination.better(self._source.origin.url, self._head, opened=True))
        self._assembly = assembly = Assembly(
            context, item, running, part, digests=self._digests, source=self._source, slots=self._slots
        )
        context.unfinished.add(assembly)
        plan = self._plan if isinstance(self._answer, verdict.Continue) else None
        self.headway.found(running.resumed)
        self._piece = assembly.begin(self._head, running.total) if plan is None else assembly.go_on(plan)
        return assembly

    # In the item's greenlet.

    def _complete(self, answer: verdict.Save | verdict.Continue) -> None:
        """Check a body that has ended, and fetch and write what is left of it."""
        if self._decoder is not None and not self._decoder.ended:
            raise errors.BodyError("the compressed body lacks its end")
        if self._sink == self._judge:
            try:
                self._welcome(self._first, ended=True)
            except Undecided:
                self.destination.decide()
                self._welcome(self._first, ended=True)
            self._begin_file()
        size = self._running.received
        if self._assembly is None and self.destination.part is None:
            if (error := verdict.check(size, answer.total, self._context.options)) is not None:
                raise error
            if self._digests is not None:
                self._digests.update(0, self._gatherer.chunks)
        else:
            size = self._finish_assembly()
        if self._digests is not None:
            self._checked = self._digests.finish(self.destination.part, size)
        if (mismatch := verdict.check_digests(self._checked, self._item.checksum)) is not None:
            self.destination.discard_part()
            self.headway = Headway()
            raise mismatch

    def _finish_assembly(self) -> int:
        """Write the end of the body and what else is missing; return the file's size."""
        assembly, piece = self._assembly or self._assemble(), self._piece
        assert piece is not None
        self._write_rest()
        size = assembly.end(piece, self._end)
        if (error := verdict.check(size, None, self._context.options)) is not None:
            raise error
        assembly.finish()
        return size

    def publish(self) -> Saved:
        """Give the checked file its final name; blocks and raises as `Destination.publish`."""
        size = self._running.received if self._assembly is None else self._assembly.segments.received
        return Saved(self.destination.publish(self._gatherer.chunks), size, self._checked)

    def abandon(self) -> None:
        """Let go of everything; an unpublished part is kept or removed as it deserves. To be called once."""
        try:
            self._close()
        finally:
            self.destination.abandon()
            self._context.ledger.drop(self._item.index)
            # Bound methods of its own make circles, which would keep the body until the collector comes by.
            self._sink = self._gatherer = None  # type: ignore[assignment]

    def discard(self) -> None:
        """Remove what there is of the file, so that the next attempt begins it again."""
        self.destination.discard_part()
        self._close()

    def _write_rest(self) -> None:
        """Write what was gathered, where there is a file to write to."""
        if self._assembly is not None:
            with suppress(Enough):
                self._gatherer.flush()

    def _close(self) -> None:
        self._write_rest()
        assembly, self._assembly = self._assembly, None
        try:
            if assembly is not None:
                self._context.unfinished.discard(assembly)
                assembly.stop()
                url, there, kept = self._source.origin.url, assembly.segments.received, assembly.part.worth_keeping
                self.headway.ended(url, there, kept=kept, provable=self._item.checksum is not None)
        finally:
            self.destination.close_part()
