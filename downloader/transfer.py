"""One item to one file: requests, redirects, what of an earlier try can be used, checks.

The states of an attempt::

    asked ── redirect ──▶ asked ── body complete ──▶ checked ── publish() ──▶ saved
      │ ▲                   │
      │ └── what came does not continue the part, or a part is there to be continued ◀──┘
      └── failure ──▶ raised

The bodies are a `receiver.Receiver`'s: up to `bodies.GATHER` bytes stay in memory until all is checked; a larger one
becomes an `assembly.Assembly`.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from downloader import errors, resume, verdict
from downloader.bodies import Aside, Enough, Source, Whole
from downloader.destination import Destination, Undecided
from downloader.framing import PROVEN
from downloader.items import Saved
from downloader.receiver import Continuable, Receiver
from downloader.tries import Headway

if TYPE_CHECKING:
    from downloader.context import Context, Name
    from downloader.framing import Framing
    from downloader.items import Address, Checksum, Progress, Running
    from downloader.resume import Plan
    from downloader.tail import Slots
    from downloader.transport import Reply


class Download:
    """All tries of one item: ``attempt`` until it returns, then ``publish``; ``abandon`` in any case.

    ``progress`` tells what the responses said so far, ``destination`` has the file, ``headway`` knows how far it came.
    ``reply`` is the last response that came whole.
    """

    _source: Source

    def __init__(self, context: Context, name: Name, running: Running, slots: Slots) -> None:
        self.headway = Headway()
        self.reply: Reply | None = None
        self.unproven: Whole | None = None
        """The body that has come, where nothing but its own bytes can tell whether that is all of it."""
        self.destination = Destination(context, name, running)
        self._context = context
        self._item = name.item
        self._running = running
        self._slots = slots
        self._receiver = Receiver(context, name, running, slots, self.destination)
        self.progress: Progress = self._receiver.progress
        self._plan: Plan | None = None
        self._size = 0
        self._checked: tuple[Checksum, ...] = ()

    def attempt(self, address: Address, deadline: float | None, *, again: bool = False, http1: bool = False) -> None:
        """Ask ``address`` once, following redirects; afterwards the whole and checked file waits to be published.

        ``deadline`` is a time of the monotonic clock. ``again``: within the same try, perhaps over ``http1``. Raises
        `Skip`, or an `errors.ItemError` that says whether another attempt may help; an unfinished part is then kept or
        removed as it deserves.
        """
        self._source = source = Source(address, address, deadline, http1=http1)
        self.headway.begin()
        try:
            if again:
                self._change_host()
            self.unproven, self._plan = None, self.destination.plan(address.url)
            while isinstance(answer := self._ask(), verdict.Redirect):
                source.follow(answer.location, insecure=self._context.options.insecure)
                self._change_host()
            if isinstance(answer, errors.ItemError):
                raise answer
            self._complete()
        except BaseException:
            self._close()
            raise

    def _change_host(self) -> None:
        """Get a slot of the host that is asked next, if it is another one than was asked last."""
        took, size = (None, 0) if self.reply is None else (self.reply.took, self.reply.size)
        with self._source.timer(self._context.options.max_time):
            self._slots.follow(self._source.address.url, took, size)

    def _ask(self) -> verdict.Save | verdict.Continue | verdict.Redirect | errors.ItemError:
        context, source, receiver = self._context, self._source, self._receiver
        while True:
            sent = None if self._plan is None else self._sent_to(source.address.url, self._plan)
            receiver.expect(source, self._plan, sent)
            self.reply = None
            self._slots.await_turn(source.deadline)
            wanted = source.request(self._item, context, None if sent is None else sent.ask)
            try:
                self.reply = context.transport.perform(wanted, receiver, host=self._slots.name)
            except Enough:
                pass
            except Undecided:
                self.destination.decide()
                continue
            except Continuable as found:
                self._plan = found.plan
                continue
            except errors.TransferError as error:
                self._broken(error)
            answer = receiver.answer
            if answer is None:
                raise errors.ProtocolError("the server sent no answer")
            if not isinstance(answer, verdict.Unfit):
                return answer
            context.note(f"{self._item.url}: {answer.reason}; asking for all of it")
            self._plan = None

    def _sent_to(self, address: str, plan: Plan) -> Plan | None:
        """Return the ``plan`` as a request to ``address`` can follow it; None where it has to ask for all."""
        state = self.destination.state
        sent = None if state is None else resume.sent_to(address, plan, state)
        if sent is None:
            self._context.note(f"{self._item.url}: it comes from another resource than before, and is begun again")
            self._plan = None
        return sent

    def _broken(self, error: errors.TransferError) -> None:
        """Raise what a broken exchange means, if it means anything."""
        self._receiver.write_rest()
        self._source.check(error, self._context.options.max_time)
        # A redirect or a refusal counts whatever became of its body.
        if self._receiver.answer is None or isinstance(self._receiver.answer, verdict.Save | verdict.Continue):
            self._receiver.broke(error)

    def _complete(self) -> None:
        """Check a body that has ended, and fetch and write what is left of the file."""
        receiver = self._receiver
        self._size = receiver.end()
        if receiver.digests is not None:
            self._checked = receiver.digests.finish(self.destination.part, self._size)
        if (reply := self.reply) is not None and reply.framing is not PROVEN and self._item.checksum is None:
            # A Content-Range has proven the rest of a file.
            self.unproven = self.body if isinstance(receiver.answer, verdict.Save) else None
        if (mismatch := verdict.check_digests(self._checked, self._item.checksum)) is not None:
            self.destination.discard_part()
            self.headway = Headway()
            raise mismatch

    # A body whose end its framing cannot prove.

    @property
    def body(self) -> Whole:
        """The body that waits to be published."""
        framing = PROVEN if self.reply is None else self.reply.framing  # without a reply its pieces were counted
        return Whole(self._receiver.gatherer.chunks, self.destination.part, self._size, framing)

    def doubts(self, error: errors.ItemError) -> Framing | None:
        """Return what told the end of a body that failed with ``error``, where that may only mean that it was cut."""
        reply = self.reply
        if reply is None or reply.framing is PROVEN or not self._receiver.lacks(error):
            return None
        return reply.framing

    def put_aside(self) -> Aside:
        """Keep the body that has come while another one comes; see `take_back`."""
        if self._receiver.assembly is not None:
            self._receiver.stop()
        chunks, part = self._receiver.gatherer.chunks, self.destination.put_aside()
        return Aside(part, chunks, self._size, self._checked, copy(self.progress))

    def take_back(self, aside: Aside) -> None:
        """Have the body that was put aside count."""
        self.destination.take_back(aside.part)
        self._receiver.gatherer.chunks, self._size, self._checked = aside.chunks, aside.size, aside.checked
        self.progress.become(aside.progress)

    def drop(self, aside: Aside) -> None:
        """Remove what was put aside."""
        self.destination.drop(aside.part)

    def publish(self) -> Saved:
        """Give the checked file its final name; blocks and raises as `Destination.publish`."""
        return Saved(self.destination.publish(self._receiver.gatherer.chunks), self._size, self._checked)

    def abandon(self) -> None:
        """Let go of everything; an unpublished part is kept or removed as it deserves. To be called once."""
        try:
            self._close()
        finally:
            self.destination.abandon()
            self._context.ledger.drop(self._item.index)
            # Bound methods of its own make circles, which would keep the body until the collector comes by.
            self._receiver.forget()

    def discard(self) -> None:
        """Remove what there is of the file, so that the next attempt begins it again."""
        self.destination.discard_part()
        self._close()

    def _close(self) -> None:
        try:
            if self._receiver.assembly is not None:
                assembly = self._receiver.stop()
                self.headway.found(self._running.resumed)
                url, there, kept = self._source.origin.url, assembly.segments.received, assembly.part.worth_keeping
                self.headway.ended(url, there, kept=kept, provable=self._item.checksum is not None)
        finally:
            self.destination.close_part()
