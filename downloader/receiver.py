"""Takes the responses of one item: decides what each is, gathers its body, writes what is too much for memory.

What takes body bytes, from when the head has come::

    begin(head) ── 200 ──▶ judging ── enough bytes ──▶ gathering ── more than `bodies.GATHER` ──▶ an `Assembly`
       │  │                   └── not media, too large, exists ──▶ raised
       │  └── 206 that continues the part ──▶ (comparing ──▶) gathering
       └── redirect, failure, or a 206 that does not fit ──▶ ignoring

`Receiver.begin` and `Receiver.write` run inside libcurl on the hub, so they only decide and write.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from downloader import errors, media, naming, spans, verdict
from downloader.assembly import Assembly
from downloader.bodies import IGNORED, Enough, Gatherer
from downloader.destination import Undecided
from downloader.digests import digests_of
from downloader.encodings import Decoder
from downloader.items import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.bodies import Source
    from downloader.context import Context, Name
    from downloader.destination import Destination
    from downloader.digests import Digests
    from downloader.items import Running
    from downloader.responses import Head
    from downloader.resume import Plan
    from downloader.segments import Piece
    from downloader.tail import Slots

Answer: TypeAlias = "verdict.Save | verdict.Continue | verdict.Unfit | verdict.Redirect | errors.ItemError"


class Continuable(Exception):
    """The response has told the file's name, and a part of it lies there: ``plan`` asks for the rest instead."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class Receiver:
    """The receiver of one response after another of one item; ``progress`` tells what they said."""

    source: Source
    gatherer: Gatherer
    answer: Answer | None
    """What the last head means; None before it."""
    decoder: Decoder | None
    _sink: Callable[[bytes], None]
    _sent: Plan | None
    _plan: Plan | None
    _head: Head

    def __init__(self, context: Context, name: Name, running: Running, slots: Slots, destination: Destination) -> None:
        self.progress = Progress()
        self.assembly: Assembly | None = None
        """What the body is written to, where it is more than stays in memory."""
        self.digests: Digests | None = None
        self._context = context
        self._name = name
        self._running = running
        self._slots = slots
        self._destination = destination
        self._piece: Piece | None = None

    def expect(self, source: Source, plan: Plan | None, sent: Plan | None) -> None:
        """A request to ``source`` is sent: for all of the file, or to go on as planned.

        ``sent`` is the ``plan`` as the address allows, with an overlap where another resource may answer.
        """
        self.source = source
        self.answer = self.decoder = None
        self._plan, self._sent = plan, sent
        self._sink = self._ignore
        self._first = b""
        self.gatherer = Gatherer(self._write_out)
        self._running.restart()

    # On the hub, inside libcurl: decide and write, nothing else.

    def begin(self, head: Head) -> bool:
        """Take a response's head and decide what its body is; False where that does not matter."""
        progress, running, sent = self.progress, self._running, self._sent
        self._slots.heard()
        progress.http_status = head.status
        progress.final_url = self.source.address.url
        progress.content_type = head.content_type
        self._head = head
        ask = None if sent is None else sent.ask
        self.answer = answer = verdict.decide(head, self._context.options, now=time.time(), ask=ask)
        if isinstance(answer, verdict.Save):
            if ask is not None:
                self._context.note(f"{self._name.item.url}: the server sends all of it, begun again")
            running.total = answer.total
            self._sink = self._judge
            if head.encoded:
                self.decoder = Decoder(head.get("content-encoding") or "")
            return True
        if isinstance(answer, verdict.Continue) and sent is not None:
            running.total = answer.total
            running.received = running.resumed = spans.covered(sent.done)
            self._sink = self._compare if sent.overlap else self._go_on if answer.start else self._judge
            return True
        return False

    def write(self, chunk: bytes) -> None:
        """Take body bytes."""
        if self.decoder is not None:
            for piece in self.decoder.decode(chunk):
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
        # A body that ends before is judged by `end`, which knows how far its end is proven.
        known = len(self._first) >= media.HEAD_BYTES or media.enough(self._first)
        if known and self._welcome(self._first, ended=False):
            self._gather(self._first)

    def _compare(self, chunk: bytes) -> None:
        """Take the bytes that were asked for once more: if it has the same file, another resource has them as well."""
        part, sent = self._destination.part, self._sent
        assert part is not None
        assert sent is not None
        self._first += chunk
        if len(self._first) < sent.overlap:
            return
        if not self._first.startswith(part.read(sent.ask.start, sent.overlap)):
            self.answer = verdict.Unfit("it comes from another resource than before, and its bytes are others")
            raise Enough
        self._running.received -= sent.overlap
        self._go_on(self._first[sent.overlap :])

    def _go_on(self, chunk: bytes) -> None:
        part, plan = self._destination.part, self._plan
        assert part is not None
        assert plan is not None
        # The first missing range begins where the first one that is there ends.
        self._welcome(part.read(0, min(media.PAGE_BYTES, plan.ask.start)), ended=True)
        self._gather(chunk)

    def _gather(self, first: bytes) -> None:
        self._first = b""
        self._sink = self.gatherer.take
        self.gatherer.take(first)

    def _welcome(self, first: bytes, *, ended: bool) -> bool:
        """Judge a file's ``first`` bytes and name it; False where more of them may tell more (not if ``ended``)."""
        item, head, total = self._name.item, self._head, self._running.total
        name = self._name.wanted or naming.from_url(item.url)
        size, accept = self._running.received if ended else None, self._context.options.accept
        judged = verdict.judge(first, head, name=name, accept=accept, total=total, size=size)
        if judged is None:
            return False
        again = isinstance(self.answer, verdict.Continue)
        # What continues a file that was welcome need not say once more of what type it is.
        if judged.refusal is not None and not (again and head.content_type is None):
            raise errors.NotMedia(judged.refusal)
        self.progress.content_type = judged.type or self.progress.content_type
        self._destination.call_it(
            disposition=head.get("content-disposition"),
            extension=judged.extension,
            final_url=self.source.address.url,
            again=again,
        )
        if not again and (plan := self._destination.better(self.source.origin.url, head)) is not None:
            raise Continuable(plan)
        options = self._context.options
        wanted = item.checksum is not None or options.checksum_algorithm is not None  # by few
        self.digests = digests_of(item, options) if wanted else None
        return True

    def _write_out(self, chunks: list[bytes], size: int) -> None:
        assembly = self.assembly or self._assemble()
        assert self._piece is not None
        assembly.write(self._piece, chunks, size, self._end)

    @property
    def _end(self) -> int | None:  # of what the response brings
        return self.answer.end if isinstance(self.answer, verdict.Continue) else self._running.total

    def _assemble(self) -> Assembly:
        """Open the file to write to, now that there is something to write."""
        running, destination, source = self._running, self._destination, self.source
        known = destination.part is not None
        part = destination.open(running.total, there=running.resumed)
        if not known and (better := destination.better(source.origin.url, self._head, opened=True)) is not None:
            raise Continuable(better)
        self.assembly = assembly = Assembly(
            self._context, self._name.item, running, part, digests=self.digests, source=source, slots=self._slots
        )
        self._context.unfinished.add(assembly)
        plan = self._plan if isinstance(self.answer, verdict.Continue) else None
        self._piece = assembly.begin(self._head, running.total) if plan is None else assembly.go_on(plan)
        return assembly

    # In the item's greenlet.

    def end(self) -> int:
        """Take note that the body has ended, and fetch what is missing of the file beside it; return the file's size.

        Raises `errors.ItemError` where it is not whole, or not what is wanted.
        """
        if self.decoder is not None and not self.decoder.ended:
            raise errors.BodyError("the compressed body lacks its end")
        if self._sink == self._judge:
            try:
                self._welcome(self._first, ended=True)
            except Undecided:
                self._destination.decide()
                self._welcome(self._first, ended=True)
            self._gather(self._first)
        if self._sink == self._compare:
            raise errors.BodyError("the range was cut short")
        options, size = self._context.options, self._running.received
        if self.assembly is not None or self._destination.part is not None:
            return self._end_assembly()
        assert isinstance(self.answer, verdict.Save)
        if (error := verdict.check(size, self.answer.total, options)) is not None:
            raise error
        if self.digests is not None:
            self.digests.update(0, self.gatherer.chunks)
        return size

    def _end_assembly(self) -> int:
        assembly, piece = self.assembly or self._assemble(), self._piece
        assert piece is not None
        self.write_rest()
        size = assembly.end(piece, self._end)
        if (error := verdict.check(size, None, self._context.options)) is not None:
            raise error
        assembly.finish()
        return size

    def broke(self, error: errors.TransferError) -> None:
        """See whether a file can do without the rest of a body that broke with ``error``. Raises it if not."""
        if self.assembly is None or self._piece is None:
            raise error
        self.assembly.do_without(self._piece, error)

    def lacks(self, error: errors.ItemError) -> bool:
        """Tell whether more bytes could have spared a body that has ended the ``error``."""
        if isinstance(error, errors.NotMedia):
            return not media.settled(self._first)
        if isinstance(error, errors.SizeError):
            return self._running.received < (self._context.options.min_size or 0)
        return isinstance(error, errors.BodyError) and self.decoder is not None and not self.decoder.ended

    def write_rest(self) -> None:
        """Write what was gathered, where there is a file to write to."""
        if self.assembly is not None and self._piece is not None:  # not if beginning it has failed
            with suppress(Enough):
                self.gatherer.flush()

    def forget(self) -> None:
        """Drop what it holds of bodies, and the bound methods that make circles. To be called once, at the end."""
        self._sink = self.gatherer = None  # type: ignore[assignment]

    def stop(self) -> Assembly:
        """Write what was gathered and no more, and return what it was written to, which must be there."""
        self.write_rest()
        assembly, self.assembly, self._piece = self.assembly, None, None
        assert assembly is not None
        self._context.unfinished.discard(assembly)
        assembly.stop()
        return assembly
