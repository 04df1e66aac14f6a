"""Where an item's file goes: its name, who else wants it, the part that waits for it, the step to its final path."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from downloader import files, naming, resume, spans
from downloader.claims import variants
from downloader.context import Context, Name, Skip
from downloader.errors import Interrupted, NameRefused, NoRoom
from downloader.partfile import Part, PartAside, open_nameless
from downloader.resume import RESUME_FROM, State
from downloader.statefile import PART
from downloader.takeover import Taken, open_part
from downloader.text import format_size

if TYPE_CHECKING:
    from downloader.items import Running
    from downloader.responses import Head
    from downloader.resume import Plan


MOST_NAMES: Final = 8
"""Names that are tried for a part, until one is not taken."""
MOST_NUMBERS: Final = 10_000
"""Numbers that are tried for a file with ``--existing rename``."""


class Undecided(Exception):
    """The file may exist already, which its name will tell once names before it are settled."""


class Destination:
    """The file system's side of one item. Its methods raise `Skip` where the item needs no download.

    They raise `errors.NameRefused`, `errors.FileLost` and `errors.StopRun` as `files.translate` says.
    """

    __slots__ = (
        *("_aside", "_context", "_item", "_kept", "_locked", "_looked", "_name", "_running", "_said", "_working"),
        "part",
    )

    def __init__(self, context: Context, name: Name, running: Running) -> None:
        self.part: Part | None = None
        """The file that is being written, open and locked."""
        self._context = context
        self._item = name.item
        self._name = name
        self._running = running
        self._aside = False  # whether another body of the file is put aside
        self._looked: str | None = None
        self._locked: str | None = None
        self._working: str | None = None
        self._kept: str | None = None
        self._said: tuple[str | None, str | None] = None, None

    @property
    def name(self) -> str | None:
        """What the file is called as far as that is known, relative to the output folder."""
        return self._name.given or self._name.wanted

    @property
    def state(self) -> State | None:
        """What is known of the part that is open."""
        return None if self.part is None else self.part.state

    # Names.

    def check_beforehand(self) -> None:
        """See to what the name tells without asking: its file may be there by now, or be another gdl's just now."""
        name, context = self._name, self._context
        if name.given is None and name.wanted is not None and context.existing(name.wanted, self._item.url):
            name.settle(context)
        known = name.given or name.wanted
        if known is not None and not context.options.dry_run:
            self._lock(known, make=False)
        if name.given is not None and (path := context.existing(name.given, self._item.address.url)) is not None:
            raise Skip("exists", path)

    def call_it(self, *, disposition: str | None, extension: str | None, final_url: str, again: bool) -> None:
        """Choose the name, now that its response has told all there is to know.

        ``again``: it continues an earlier one, and need not say again what that has said (RFC 9110 section 15.3.7).
        Raises `Undecided` where a file of that name exists and others come first.
        """
        context, item, name = self._context, self._item, self._name
        if again:
            disposition, extension = disposition or self._said[0], extension or self._said[1]
        self._said = disposition, extension
        if name.given is None or disposition is not None or context.template is not None:
            before = name.given
            name.want(
                context.fitted(
                    naming.choose(
                        explicit=item.name,
                        template=context.template,
                        url=item.url,
                        final_url=final_url,
                        index=item.index,
                        disposition=disposition,
                        extension=extension,
                    )
                ),
                context,
            )
            self._running.name = self.name or ""
            if name.given is None or name.given != before:
                self._skip_existing()
        known = name.given or name.wanted or ""
        if context.options.dry_run:
            raise Skip("dry run", context.path(known))
        if self._locked != known or not context.locks.entered:
            self._lock(known, make=True)

    def decide(self) -> None:
        """Settle the name of an item that was `Undecided`; waits for names before it."""
        path = self._context.existing(self._name.settle(self._context), self._item.url)
        if path is not None:
            raise Skip("exists", path)

    def _skip_existing(self) -> None:
        path = self._context.existing(self.name or "", self._item.url)
        if path is not None:
            if self._name.given is None:
                raise Undecided
            raise Skip("exists", path)

    def _lock(self, name: str, *, make: bool) -> None:
        context = self._context
        if self._locked is not None and self._locked != name:
            context.locks.drop(self._locked)
        self._locked = name
        if not context.locks.take(name, make=make):
            self._locked = None
            raise Skip("in progress", context.path(name))

    # The part.

    def plan(self, url: str) -> Plan | None:
        """Open the part that an earlier try left, if there is one, and return how ``url`` can continue it."""
        name, context = self._kept or self._name.given or self._name.wanted, self._context
        if self._aside:  # what lies there is that
            return None
        if self.part is None and name is not None and name != self._looked and not context.options.dry_run:
            self._looked = name
            if not context.listing.has_state(name):
                return None
            self.part = self._open_part()
        state = self.state
        if state is None:
            return None
        plan = resume.plan(state, url=url, checksum=self._item.checksum, boot=files.boot_id())
        if plan is not None:
            context.note(f"{self._item.url}: {format_size(spans.covered(plan.done))} are there, asking for the rest")
        elif state.done:
            context.note(f"{self._item.url}: what is there of it cannot be continued, it is begun again")
        return plan

    def better(self, url: str, head: Head, *, opened: bool = False) -> Plan | None:
        """Return how ``url`` can continue a part that was not known of when the file with ``head`` was asked for.

        There may be one under a name that only this response has told, or one that another run has left since: the
        latter is seen once the part is ``opened``.
        """
        if not opened and (self.part is not None or (self._looked and self._looked == (self._kept or self.name))):
            return None
        plan, state = self.plan(url), self.state
        return plan if state is not None and resume.same(head, state) else None

    def open(self, total: int | None, *, there: int = 0) -> Part:
        """Return the file to write ``total`` bytes to, of which ``there`` are in it already.

        It needs a name only where it may be continued one day, or must replace another. Raises `errors.NoRoom`
        where it is too large for the disk.
        """
        context = self._context
        part = self.part
        continued = not self._aside and (total is None or total >= RESUME_FROM)
        if part is None and not continued and context.options.existing != "overwrite":
            part = open_nameless(context.folders, self.name or "")
        if part is None:
            part = self._open_part()
        self.part = part
        if total is not None and total >= RESUME_FROM:
            self._check_room(part, total - (there or part.occupied))
        return part

    def _open_part(self) -> Part:
        """Open the part under its name, or under another where it is taken. Raises `Skip` where a gdl is at it."""
        context, wanted = self._context, self._kept or self.name or ""
        others = variants(wanted, self._item.url, context.folders.longest(wanted))
        for name in islice(chain((wanted,), others), MOST_NAMES):
            key = naming.key(name)
            if key in context.working:  # another item writes under it until the ledger has settled who gets it
                continue
            context.working.add(key)
            part: Part | Taken | None = None
            try:
                part = open_part(context.folders, name, warn=context.warn)
            finally:
                if not isinstance(part, Part):
                    context.working.discard(key)
            if part is Taken.IN_PROGRESS and not context.locks.rules_out(self._locked or ""):
                raise Skip("in progress", context.path(name))
            # A lock though the name is ours is not gdl's: every user who can read the file may lock it.
            if isinstance(part, Taken):
                continue
            self._working, self._kept = key, name
            context.listing.add_state(name)
            if part.moved_aside is not None:
                context.warn(f"{part.path} was no part of gdl's: it is {part.moved_aside} now")
            return part
        raise NameRefused(
            f"{context.path(wanted)}{PART} is another user's or locked, and so is what else its part may be called"
        )

    def _check_room(self, part: Part, needed: int) -> None:
        free, promised = part.room, self._context.promised()
        if free is not None and needed + promised > free:
            others = f" and other files need {format_size(promised)} of it" if promised else ""
            raise NoRoom(
                f"the file needs {format_size(needed)}, where it would be written {format_size(free)} are free{others}"
            )

    def close_part(self) -> None:
        """Let go of the part: it is kept or removed as it deserves. Idempotent."""
        part, self.part = self.part, None
        self._looked = None
        try:
            if part is not None and not part.leave() and self._kept is not None:
                self._context.listing.discard_state(self._kept)
                self._kept = None
        finally:
            if self._working is not None:
                self._context.working.discard(self._working)
                self._working = None

    def discard_part(self) -> None:
        """Remove the part and what is known of it. Idempotent."""
        if self.part is not None:
            self.part.discard()
        self.close_part()

    def put_aside(self) -> PartAside:
        """Keep the part, if there is one, while another body of the file comes: without a name, or under another."""
        aside = PartAside(self.part, self._working, self._kept, self._name.wanted)
        self.part = self._working = self._kept = self._looked = None
        self._aside = True
        return aside

    def take_back(self, aside: PartAside) -> None:
        """Go on with what was put aside, and remove the part that was written since."""
        self.discard_part()
        self._aside = False
        self.part, self._working, self._kept, wanted = aside
        if wanted is not None and wanted != self._name.wanted:
            self._name.want(wanted, self._context)
            self._lock(self.name or wanted, make=True)

    def drop(self, aside: PartAside) -> None:
        """Remove what was put aside."""
        since = self.part, self._working, self._kept
        self.part, self._working, self._kept, _ = aside
        try:
            self.discard_part()
        finally:
            self.part, self._working, self._kept = since
            self._aside = False

    def abandon(self) -> None:
        """Let go of everything."""
        try:
            if self.part is not None or self._working is not None:
                self.close_part()
        finally:
            if self._locked is not None:
                self._context.locks.drop(self._locked)

    # The final path.

    def publish(self, chunks: list[bytes]) -> str:
        """Give the checked file its final path and return it; ``chunks`` is all of it where there is no part.

        Blocks while names before it in the list are not settled (at most `context.NAME_PATIENCE`). Raises `Skip`
        where the path has been taken meanwhile.
        """
        context = self._context
        try:
            name = self._name.settle(context)
        except Interrupted:  # a whole file had better get its name than be lost
            name = self._name.settle_now(context)
        wanted, number = name, 0
        while not self._publish_as(name, chunks):
            if context.options.existing != "rename":
                self.discard_part()
                raise Skip("exists", context.path(name))
            number += 1
            if number > MOST_NUMBERS:
                raise NameRefused(f"{context.path(wanted)} exists, and so do {MOST_NUMBERS:,} others with a number")
            files.breathe()
            numbered = naming.numbered(wanted, number, limit=context.folders.longest(wanted))
            name = context.ledger.claim(numbered, self._item.url)
        if context.folders.new is not None:
            with files.translated(context.path(name)):
                context.folders.sync_new(name)
        return context.path(name)

    def _publish_as(self, name: str, chunks: list[bytes]) -> bool:
        context, options, part = self._context, self._context.options, self.part
        replace = options.existing == "overwrite"
        refused = False
        if part is None and not replace:
            part = open_nameless(context.folders, name)
            refused = part is None
            if part is not None:
                self.part = part
                part.write(chunks, 0)
        if part is None:
            part = self._write_down(chunks)
        done = part.publish(name, replace=replace, fsync=options.fsync)
        if done is None:
            refused = True
            done = self._copied(part).publish(name, fsync=options.fsync)
        if refused and done:
            context.folders.learn_no_nameless(name)
        return bool(done)

    def _copied(self, nameless: Part) -> Part:
        """Return a part with what is in one that cannot get a name."""
        try:
            part, at = self._write_down([]), 0
            while chunk := nameless.read(at, RESUME_FROM):
                at += part.write([chunk], at)
                files.breathe()
        finally:
            nameless.release()
        return part

    def _write_down(self, chunks: list[bytes]) -> Part:
        self.part = part = self._open_part()
        part.begin(State(self._item.url))
        part.write(chunks, 0)
        return part
