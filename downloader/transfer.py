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
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gevent.event import Event

from downloader import errors, media, naming, partfile, request, verdict
from downloader.items import Progress, Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.claims import NameLedger
    from downloader.cookies import CookieFile
    from downloader.items import Address, Item, Running
    from downloader.options import Options
    from downloader.responses import Head
    from downloader.transport import Transport

MAX_REDIRECTS = 10
IGNORED = 64 * 1024
"""Bytes of a redirect's or an error's body that are read to keep the connection; a longer one costs it."""
NAME_PATIENCE = 3.0
"""Seconds a complete file waits for the names of files before it in the list."""


class Skip(Exception):  # noqa: N818 no error: the item ends as skipped
    """The item needs no download; ``reason`` as in `items.Result`, ``path`` of the file that is there."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class _Enough(Exception):  # noqa: N818 no error: stops a body nobody wants
    """Ends an exchange whose body does not matter."""


class _Undecided(Exception):  # noqa: N818 no error: stops an exchange until the name is settled
    """The file may exist already, which its name will tell once names before it are settled."""


@dataclass(slots=True)
class Context:
    """What the transfers of a run share."""

    options: Options
    transport: Transport
    ledger: NameLedger
    cookies: CookieFile | None = None
    template: naming.Template | None = None
    working: set[str] = field(default_factory=set)
    """Keys of the names whose part files are open in this process."""

    def path(self, name: str) -> str:
        """Return the final path of a file called ``name``."""
        return os.path.join(self.options.output, name)

    def existing(self, name: str, url: str) -> str | None:
        """Return the path under which the file is there already: its name, or the variant of its URL.

        Raises `errors.NameRefused` where a folder has the name.
        """
        path = self.path(name)
        if not os.path.lexists(path):
            return None
        if os.path.isdir(path):
            raise errors.NameRefused(f"{path} is a folder")
        # Where the name was another URL's in an earlier run, this one's file lies beside it.
        variant = self.path(naming.collided(name, url))
        return variant if os.path.lexists(variant) else path


class Download:
    """All tries of one item. ``attempt`` until it returns, then ``publish``; ``abandon`` in any case.

    ``progress`` tells what the responses said so far.
    """

    def __init__(self, context: Context, item: Item, running: Running, known: str | None, name: str | None) -> None:
        self._context = context
        self._item = item
        self._running = running
        self._known = known
        self._name = name
        self._part: partfile.Part | None = None
        self._working: str | None = None
        self._hasher: hashlib._Hash | None = None
        self._sink: Callable[[bytes], None] = self._ignore
        self.progress = Progress()
        self._begin_exchange(item.address)

    def _begin_exchange(self, address: Address) -> None:
        self._address = address
        self._head: Head | None = None
        self._answer: verdict.Save | verdict.Redirect | errors.ItemError | None = None
        self._first = b""
        self._running.received = 0
        self._running.total = None

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
        while True:
            self._begin_exchange(address)
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise errors.DeadlineExceeded("--max-time is over")
            asked = request.build(
                self._item, address, self._context.options, cookies=self._context.cookies, deadline=left
            )
            try:
                self._context.transport.perform(asked, self)
            except _Enough:
                pass
            except _Undecided:
                self._settle_name()
                continue
            except errors.TransferError as error:
                if deadline is not None and isinstance(error, errors.TimedOut) and time.monotonic() >= deadline - 0.01:
                    raise errors.DeadlineExceeded("--max-time is over") from error
                # A redirect or a refusal counts whatever became of its body.
                if self._answer is None or isinstance(self._answer, verdict.Save):
                    raise
            if self._answer is None:
                raise errors.ProtocolError("the server sent no answer")
            return self._answer

    # On the hub, inside libcurl: decide and write, nothing else.

    def begin(self, head: Head) -> None:
        """Take a response's head and decide what its body is."""
        self._head = head
        self.progress.http_status = head.status
        self.progress.final_url = self._address.url
        self.progress.content_type = head.content_type
        self._answer = answer = verdict.decide(head, self._context.options, now=time.time())
        if isinstance(answer, verdict.Save):
            self._running.total = answer.total
            self._sink = self._judge
        else:
            self._sink = self._ignore

    def write(self, chunk: bytes) -> None:
        """Take body bytes."""
        self._running.received += len(chunk)
        self._sink(chunk)

    def _ignore(self, _chunk: bytes) -> None:
        if self._running.received > IGNORED:
            raise _Enough

    def _judge(self, chunk: bytes) -> None:
        self._first += chunk
        total = self._running.total
        wanted = media.HEAD_BYTES if total is None else min(media.HEAD_BYTES, total)
        if len(self._first) >= wanted or media.enough(self._first):
            self._accept(ended=False)

    def _accept(self, *, ended: bool) -> None:
        """Judge the first bytes; where they are welcome, name the file and open its part."""
        assert self._head is not None
        options, total = self._context.options, self._running.total
        size = self._running.received if ended else total
        judged = media.judge(
            self._first,
            declared=self._head.content_type,
            name_extension=naming.split(self._known or naming.from_url(self._item.url))[1].lower() or None,
            accept=options.accept,
            size=size,
        )
        if judged.refusal is not None:
            # A page's title may come later than the bytes that give it away.
            if not ended and len(self._first) < min(media.PAGE_BYTES, total or media.PAGE_BYTES):
                return
            raise errors.NotMedia(judged.refusal)
        self.progress.content_type = judged.type or self.progress.content_type
        self._open(judged.extension)
        first, self._first = self._first, b""
        self._sink = self._write
        self._write(first)

    def _open(self, extension: str | None) -> None:
        assert self._head is not None
        context, item = self._context, self._item
        wanted = naming.choose(
            explicit=item.name,
            template=context.template,
            url=item.url,
            final_url=self._address.url,
            index=item.index,
            disposition=self._head.get("content-disposition"),
            extension=extension,
        )
        if wanted != self._known:
            self._known = wanted
            self._name = context.ledger.want(item.index, wanted, item.url)
        elif self._name is None:
            self._name = context.ledger.given(item.index)
        self._running.name = self._name or wanted
        self._skip_existing()
        if context.options.dry_run:
            raise Skip("dry run", context.path(self._name or wanted))
        self._open_part(self._name or wanted)
        if item.checksum is not None:
            self._hasher = hashlib.new(item.checksum.algorithm)

    def _skip_existing(self) -> None:
        if self._context.options.existing != "skip" or self._known is None:
            return
        path = self._context.existing(self._name or self._known, self._item.url)
        if path is not None:
            if self._name is None:
                raise _Undecided
            raise Skip("exists", path)

    def _open_part(self, name: str) -> None:
        context = self._context
        key = naming.key(name)
        if key in context.working:
            name = naming.collided(name, self._item.url)
            key = naming.key(name)
        try:
            self._part = partfile.open_part(context.path(name))
        except partfile.InProgress:
            raise Skip("in progress", context.path(name)) from None
        context.working.add(key)
        self._working = key
        assert self._head is not None
        state = verdict.state(self._head, url=self._item.url, total=self._running.total)
        if state is not None:
            self._part.remember(state)

    def _write(self, chunk: bytes) -> None:
        assert self._part is not None
        self._part.write(chunk)
        if self._hasher is not None:
            self._hasher.update(chunk)
        limit = self._context.options.max_size
        if limit is not None and self._part.size > limit:
            raise (verdict.check_size(self._part.size, self._context.options, complete=False) or errors.SizeError())

    # In the item's greenlet.

    def _complete(self, answer: verdict.Save) -> None:
        """Check a body that has ended."""
        if self._part is None:
            self._accept(ended=True)
        assert self._part is not None
        size, checksum = self._part.size, self._item.checksum
        error: errors.ItemError | None = verdict.check_length(size, answer.total)
        if error is None:
            error = verdict.check_size(size, self._context.options, complete=True)
        if error is None and checksum is not None and self._hasher is not None:
            digest = self._hasher.hexdigest()
            if digest != checksum.hexdigest:
                error = errors.ChecksumMismatch(f"{checksum.algorithm} is {digest}, not {checksum.hexdigest}")
        if error is not None:
            if not error.retryable:
                self._part.discard()
            raise error

    def publish(self) -> Saved:
        """Give the checked part its final name.

        Blocks while names before it in the list are not settled (at most `NAME_PATIENCE`). Raises `Skip` where the
        name has been taken on disk meanwhile.
        """
        part, context, item = self._part, self._context, self._item
        assert part is not None
        name = self._name or self._settle_name()
        existing = context.options.existing
        path = context.path(name)
        number = 0
        while not part.publish(path, replace=existing == "overwrite"):
            if existing != "rename":
                part.discard()
                raise Skip("exists", path)
            number += 1
            path = context.path(context.ledger.claim(naming.numbered(name, number), item.url))
        sha256 = None
        if self._hasher is not None and item.checksum is not None and item.checksum.algorithm == "sha256":
            sha256 = item.checksum.hexdigest
        return Saved(path, part.size, sha256)

    def _settle_name(self) -> str:
        """Return the name this item gets, waiting in patience for those before it."""
        ledger, index = self._context.ledger, self._item.index
        assert self._known is not None
        self._name = ledger.given(index)
        if self._name is None:
            settled = Event()
            ledger.watch(index, settled.set)
            # When the run is stopped meanwhile, a whole file had better get its name than be lost.
            with suppress(errors.Interrupted):
                settled.wait(NAME_PATIENCE)
            ledger.overtake(index)
            self._name = ledger.given(index)
        assert self._name is not None
        return self._name

    def check_beforehand(self) -> None:
        """Raise `Skip` where the file is there already and its name is known without asking."""
        if self._known is None or self._context.options.existing != "skip":
            return
        if self._context.existing(self._known, self._item.url) is not None:
            name = self._name or self._settle_name()
            path = self._context.existing(name, self._item.url)
            if path is not None:
                raise Skip("exists", path)

    def abandon(self) -> None:
        """Let go of everything; an unpublished part is kept or removed as it deserves. Idempotent."""
        self._close_part()
        self._context.ledger.drop(self._item.index)

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.leave()
            self._part = None
        if self._working is not None:
            self._context.working.discard(self._working)
            self._working = None
        self._hasher = None
