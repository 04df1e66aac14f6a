"""What the transfers of a run share, and the name an item goes by."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

from downloader import errors, files, leftovers, naming
from downloader.descriptors import MOST_NAMELESS
from downloader.folders import Folders
from downloader.locks import NameLocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from downloader.claims import NameLedger
    from downloader.cookies import CookieFile
    from downloader.items import Item, Listener
    from downloader.options import Options
    from downloader.transport import Transport

NAME_PATIENCE = 3.0
"""Seconds a complete file waits for the names of files before it in the list."""


class Skip(Exception):
    """The item needs no download; ``reason`` as in `items.Result`, ``path`` of the file that is there."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Unfinished(Protocol):
    """A file that is being written."""

    @property
    def left(self) -> int:
        """Bytes that are still to be written."""


@dataclass(slots=True)
class Context:
    """What the transfers of a run share."""

    options: Options
    transport: Transport
    ledger: NameLedger
    cookies: CookieFile | None = None
    template: naming.Template | None = None
    listeners: Sequence[Listener] = ()
    most_nameless: int = MOST_NAMELESS
    """Items that may wait for their names at once: each may have a part open, and no slot any more."""
    nameless: int = 0
    """Those that do."""
    working: set[str] = field(default_factory=set)
    """Keys of the names whose part files are open in this process."""
    unfinished: set[Unfinished] = field(default_factory=set)
    """The files that are being written to parts."""
    folders: Folders = field(init=False)
    """The output folder and what is below it."""
    listing: leftovers.Listing = field(init=False)
    """Tells what was in the output folder, and where an earlier try may have left a part."""
    locks: NameLocks = field(init=False)
    """Keep other runs from what this one is downloading."""
    _told: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.folders = Folders(self.options.output)
        if self.options.fsync:
            self.folders.new = set()
        self.listing = leftovers.Listing(self.folders)
        self.locks = NameLocks(self.folders, warn=self.warn)
        self.ledger.longest = self.folders.longest

    def close(self) -> None:
        """Let go of what belongs to the run alone."""
        self.locks.close()
        self.folders.close()
        self.ledger.close()

    def warn(self, message: str) -> None:
        """Tell everybody, but only once in a run."""
        if message not in self._told:
            self._told.add(message)
            for listener in self.listeners:
                _call(listener.warned, message)

    def note(self, message: str) -> None:
        """Tell those who want to know everything."""
        for listener in self.listeners:
            _call(listener.noted, message)

    def stops(self, error: errors.StopRun) -> bool:
        """Tell whether ``error`` concerns all that is to be written, not only one sub-folder."""
        return error.folder is None or not self.folders.is_writable() or error.folder == self.folders.shown

    def promised(self) -> int:
        """Return the bytes that the files under way have yet to write."""
        return sum(file.left for file in self.unfinished)

    def path(self, name: str) -> str:
        """Return the final path of a file called ``name``, for people."""
        return self.folders.path(name)

    def fitted(self, name: str) -> str:
        """Return ``name``, cut where its folder takes no names as long. Raises as `folders.Folders`."""
        if len(name) <= naming.SHORTEST and name.isascii():
            return name
        longest = self.folders.longest(name)
        return name if longest >= naming.LIMIT else naming.shortened(name, longest)

    def known_beforehand(self, item: Item) -> str | None:
        """Return the name of ``item``, if that is certain before any request, as `naming.known_beforehand`."""
        url = item.address.url
        known = naming.known_beforehand(explicit=item.name, template=self.template, url=url, index=item.index)
        return None if known is None else self.fitted(known)

    def existed(self, name: str, url: str) -> str | None:
        """Return as `existing`, but perhaps not what came after the run began: saves asking for most names."""
        return self.existing(name, url) if self.options.dry_run or self.listing.may_have(name) else None

    def existing(self, name: str, url: str) -> str | None:
        """Return the path under which the file is there already: its name, or the variant of its URL.

        None with any other ``--existing`` than skip. Raises `errors.NameRefused` where a folder has the name, and as
        `folders.Folders`.
        """
        if self.options.existing != "skip":
            return None
        place = self.folders.find(name)
        # Cheaper than a stat that fails; a link to nothing is found when it matters.
        if place is None or not os.access(place[1], os.F_OK, dir_fd=place[0].fd):
            return None
        path = self.path(name)
        with files.translated(path):
            if stat.S_ISDIR(os.stat(place[1], dir_fd=place[0].fd).st_mode):
                raise errors.NameRefused(f"{path} is a folder")
        told = self.listing.has_state(name) and not self.options.dry_run
        if told and not leftovers.whole(self.folders, name, boot=files.boot_id()):
            self.warn(f"{path} may be damaged, the machine went down as it was saved: it is downloaded again")
            return None
        # Where the name was another URL's in an earlier run, this one's file lies beside it.
        variant = naming.collided(name, url, limit=self.folders.longest(name))
        place = self.folders.find(variant)
        with files.translated(path):
            return self.path(variant) if place is not None and files.found_at((place[0].fd, place[1])) else path


def _call(listener: Callable[[str], None], message: str) -> None:
    """Tell a listener, which may have to wait for its reader: the hub, on which the transport calls us, must not."""
    if gevent.getcurrent() is gevent.get_hub():
        gevent.spawn(listener, message)
    else:
        listener(message)


@dataclass(slots=True)
class Name:
    """What an item's file is called, as far as that is known."""

    item: Item
    wanted: str | None
    """What it would be called if nobody else wanted that name."""
    given: str | None
    """What it is called: settled for good."""
    _claimed: dict[str, str] | None = None
    """What it was given for other names that responses asked for, so that it is never in its own way."""

    def want(self, name: str, context: Context) -> None:
        """Take note of the name that the response asks for."""
        if self.given is None:
            self.given = context.ledger.given(self.item.index)
        if name != self.wanted:
            if self.wanted is not None and self.given is not None:
                self._claimed = {**(self._claimed or {}), self.wanted: self.given}
            self.wanted = name
            self.given = (self._claimed or {}).get(name) or context.ledger.want(self.item.index, name, self.item.url)

    def settle(self, context: Context) -> str:
        """Return the name this item gets, waiting `NAME_PATIENCE` seconds for those before it in the list.

        It does not wait where as many do already as there are descriptors for.
        """
        if self.given is None:
            self.given = context.ledger.given(self.item.index)
        if self.given is None and context.nameless < context.most_nameless:
            settled = Event()
            context.ledger.watch(self.item.index, settled.set)
            context.nameless += 1
            try:
                settled.wait(NAME_PATIENCE)
            finally:
                context.nameless -= 1
        return self.given or self.settle_now(context)

    def settle_now(self, context: Context) -> str:
        """Return the name this item gets without waiting for anybody."""
        context.ledger.overtake(self.item.index)
        self.given = context.ledger.given(self.item.index)
        if self.given is None:
            raise RuntimeError("the ledger has lost a name")
        return self.given
