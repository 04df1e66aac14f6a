"""One item to one file: request, redirects, checks, part file, publishing.

The states of an attempt, each with what takes body bytes in it::

    asked ── begin(head) ──▶ judging ── enough bytes ──▶ writing ── body complete ──▶ checked ── publish() ──▶ saved
                 │              └── not media, too large, exists ──▶ raised
                 └── redirect or failure ──▶ ignoring ── end of body ──▶ next request, or raised

`begin` and `write` run inside libcurl on the hub, so they only decide and write; waiting for a name (`publish`)
happens in the item's greenlet.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from downloader import errors, media, naming, partfile, request, verdict
from downloader.context import Name, Skip
from downloader.disposition import filename
from downloader.items import Progress, Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.context import Context
    from downloader.items import Address, Item, Running
    from downloader.responses import Head

MAX_REDIRECTS = 10
IGNORED = 64 * 1024
"""Bytes of a redirect's or an error's body that are read to keep the connection; a longer one costs it."""
GATHER = 64 * 1024
"""Bytes that are gathered before they are written: libcurl hands out 16 KiB at a time, whatever it received."""
GATHER_CHUNKS = 256
"""Chunks that are gathered at most, where they are small."""


class _Enough(Exception):
    """Ends an exchange whose body does not matter."""


class _Undecided(Exception):
    """The file may exist already, which its name will tell once names before it are settled."""


class Download:
    """All tries of one item: ``attempt`` until it returns, then ``publish``; ``abandon`` in any case.

    ``progress`` tells what the responses said so far.
    """

    def __init__(self, context: Context, name: Name, running: Running) -> None:
        self.progress = Progress()
        self._context = context
        self._item: Item = name.item
        self._name = name
        self._running = running
        self._part: partfile.Part | None = None
        self._working: str | None = None
        self._hasher: hashlib._Hash | None = None
        self._begin_exchange(name.item.address)

    def _begin_exchange(self, address: Address) -> None:
        self._address = address
        self._answer: verdict.Save | verdict.Redirect | errors.ItemError | None = None
        self._sink: Callable[[bytes], None] = self._ignore
        self._first = b""
        self._chunks: list[bytes] = []
        self._held = 0
        self._running.received = 0
        self._running.total = None

    def check_beforehand(self) -> None:
        """Raise `Skip` where a name known without asking was not settled at once, and its file is there."""
        name, context = self._name, self._context
        if name.given is None and name.wanted is not None and context.existing(name.wanted, self._item.url):
            path = context.existing(name.settle(context), self._item.url)
            if path is not None:
                raise Skip("exists", path)

    def attempt(self, deadline: float | None) -> None:
        """Ask once, following redirects; afterwards the whole and checked file lies in its part.

        ``deadline`` is a time of the monotonic clock. Raises `Skip`, or an `errors.ItemError` that says whether
        another attempt may help; an unfinished part is then kept or removed as it deserves.
        """
        address = self._item.address
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = self._ask(address, deadline)
                if isinstance(answer, verdict.Redirect):
                    address = request.follow(address, answer.location, insecure=self._context.options.insecure)
                    continue
                if isinstance(answer, errors.ItemError):
                    raise answer
                self._complete(answer)
                return
        except BaseException:
            self._close_part()
            raise
        raise errors.RedirectError(f"more than {MAX_REDIRECTS} redirects, the last to {address.url}")

    def _ask(self, address: Address, deadline: float | None) -> verdict.Save | verdict.Redirect | errors.ItemError:
        context = self._context
        while True:
            self._begin_exchange(address)
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self._too_late()
            asked = request.build(self._item, address, context.options, cookies=context.cookies, deadline=left)
            try:
                context.transport.perform(asked, self)
            except _Enough:
                pass
            except _Undecided:
                path = context.existing(self._name.settle(context), self._item.url)
                if path is not None:
                    raise Skip("exists", path) from None
                continue
            except errors.TransferError as error:
                if deadline is not None and isinstance(error, errors.TimedOut) and time.monotonic() >= deadline - 0.01:
                    raise self._too_late() from error
                # A redirect or a refusal counts whatever became of its body.
                if self._answer is None or isinstance(self._answer, verdict.Save):
                    raise
            if self._answer is None:
                raise errors.ProtocolError("the server sent no answer")
            return self._answer

    def _too_late(self) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(f"not done within --max-time {self._context.options.max_time:g} s")

    # On the hub, inside libcurl: decide and write, nothing else.

    def begin(self, head: Head) -> bool:
        """Take a response's head and decide what its body is; False where that does not matter."""
        progress = self.progress
        progress.http_status = head.status
        progress.final_url = self._address.url
        progress.content_type = head.content_type
        self._head = head
        self._answer = answer = verdict.decide(head, self._context.options, now=time.time())
        if isinstance(answer, verdict.Save):
            self._running.total = answer.total
            self._sink = self._judge
            return True
        return False

    def write(self, chunk: bytes) -> None:
        """Take body bytes."""
        self._running.received += len(chunk)
        self._sink(chunk)

    def _ignore(self, _chunk: bytes) -> None:
        if self._running.received > IGNORED or (self._head.content_length or 0) > IGNORED:
            raise _Enough

    def _judge(self, chunk: bytes) -> None:
        self._first += chunk
        total = self._running.total
        wanted = media.HEAD_BYTES if total is None else min(media.HEAD_BYTES, total)
        if len(self._first) >= wanted or media.enough(self._first):
            self._accept(ended=False)

    def _accept(self, *, ended: bool) -> None:
        """Judge the first bytes; where they are welcome, name the file."""
        total = self._running.total
        disposition = self._head.get("content-disposition")
        proposed = filename(disposition) if disposition is not None else None
        if proposed is None:
            proposed = self._name.wanted or naming.from_url(self._item.url)
        judged = media.judge(
            self._first,
            declared=self._head.get("content-type"),
            name_extension=naming.split(proposed)[1] or None,
            accept=self._context.options.accept,
            size=self._running.received if ended else total,
        )
        if judged.refusal is not None:
            # A page's title may come later than the bytes that give it away.
            if not ended and len(self._first) < min(media.PAGE_BYTES, total or media.PAGE_BYTES):
                return
            raise errors.NotMedia(judged.refusal)
        self.progress.content_type = judged.type or self.progress.content_type
        self._call_it(disposition, judged.extension)
        first, self._first = self._first, b""
        self._sink = self._gather
        self._gather(first)

    def _call_it(self, disposition: str | None, extension: str | None) -> None:
        """Find the file's name, now that its response has told all there is to know."""
        context, item, name = self._context, self._item, self._name
        if name.given is None or disposition is not None or context.template is not None:
            before = name.given
            name.want(
                naming.choose(
                    explicit=item.name,
                    template=context.template,
                    url=item.url,
                    final_url=self._address.url,
                    index=item.index,
                    disposition=disposition,
                    extension=extension,
                ),
                context,
            )
            self._running.name = name.given or name.wanted or ""
            if name.given is None or name.given != before:
                self._skip_existing()
        if context.options.dry_run:
            raise Skip("dry run", context.path(name.given or name.wanted or ""))
        if item.checksum is not None:
            self._hasher = hashlib.new(item.checksum.algorithm)

    def _skip_existing(self) -> None:
        name = self._name
        path = self._context.existing(name.given or name.wanted or "", self._item.url)
        if path is not None:
            if name.given is None:
                raise _Undecided
            raise Skip("exists", path)

    def _gather(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held >= GATHER or len(self._chunks) >= GATHER_CHUNKS:
            self._flush()

    def _flush(self) -> partfile.Part:
        """Write what was gathered, into a part that is opened when there is something to write."""
        if self._part is None:
            self._part = self._open_part()
        chunks, self._chunks, self._held = self._chunks, [], 0
        self._part.write(chunks)
        if self._hasher is not None:
            for chunk in chunks:
                self._hasher.update(chunk)
        if self._context.options.max_size is not None:
            too_large = verdict.check_size(self._part.size, self._context.options, complete=False)
            if too_large is not None:
                self._part.discard()
                raise too_large
        return self._part

    def _open_part(self) -> partfile.Part:
        context, url = self._context, self._item.url
        name = self._name.given or self._name.wanted or ""
        key = naming.key(name)
        if key in context.working:
            # Another item writes under this name until the ledger has settled who gets it.
            name = naming.collided(name, url)
            key = naming.key(name)
        try:
            part = partfile.open_part(context.path(name))
        except partfile.InProgress:
            raise Skip("in progress", context.path(name)) from None
        context.working.add(key)
        self._working = key
        state = verdict.state(self._head, url=url, total=self._running.total)
        if state is not None:
            part.remember(state)
        return part

    # In the item's greenlet.

    def _complete(self, answer: verdict.Save) -> None:
        """Check a body that has ended, and write what is left of it."""
        if self._sink == self._judge:
            self._accept(ended=True)
        size, checksum = self._running.received, self._item.checksum
        error = verdict.check_length(size, answer.total) or verdict.check_size(
            size, self._context.options, complete=True
        )
        if error is not None:
            raise error
        if self._part is not None:
            self._flush()
        if checksum is not None and self._hasher is not None:
            for chunk in self._chunks:
                self._hasher.update(chunk)
            digest = self._hasher.hexdigest()
            if digest != checksum.hexdigest:
                if self._part is not None:
                    self._part.discard()
                raise errors.ChecksumMismatch(f"{checksum.algorithm} is {digest}, not {checksum.hexdigest}")

    def publish(self) -> Saved:
        """Give the checked part its final name.

        Blocks while names before it in the list are not settled (at most `context.NAME_PATIENCE`). Raises `Skip`
        where the name has been taken on disk meanwhile.
        """
        context, item = self._context, self._item
        try:
            name = self._name.settle(context)
        except errors.Interrupted:  # a whole file had better get its name than be lost
            name = self._name.settle_now(context)
        path = context.path(name)
        number = 0
        while not self._publish_as(path):
            if context.options.existing != "rename":
                if self._part is not None:
                    self._part.discard()
                raise Skip("exists", path)
            number += 1
            path = context.path(context.ledger.claim(naming.numbered(name, number), item.url))
        sha256 = item.checksum.hexdigest if item.checksum and item.checksum.algorithm == "sha256" else None
        return Saved(path, self._running.received, sha256)

    def _publish_as(self, path: str) -> bool:
        replace = self._context.options.existing == "overwrite"
        if self._part is None and not replace:
            published = partfile.publish_whole(path, self._chunks)
            if published is not None:
                return published
        part = self._part or self._flush()
        return part.publish(path, replace=replace)

    def abandon(self) -> None:
        """Let go of everything; an unpublished part is kept or removed as it deserves. To be called once."""
        self._close_part()
        self._context.ledger.drop(self._item.index)
        # A bound method of its own makes a circle, which would keep the body until the collector comes by.
        del self._sink
        self._chunks = []

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.leave()
            self._part = None
        if self._working is not None:
            self._context.working.discard(self._working)
            self._working = None
        self._hasher = None
