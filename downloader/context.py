"""What the transfers of a run share, and the name an item goes by."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

from downloader import errors, files, leftovers, naming
from downloader.descriptors import MOST_NAMELESS
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
    new_folders: set[str] = field(default_factory=set)
    """With ``--fsync``: folders made by this run that the disk may not know yet."""
    listing: leftovers.Listing = field(init=False)
    """Tells what was in the output folder, and where an earlier try may have left a part."""
    locks: NameLocks = field(init=False)
    """Keep other runs from what this one is downloading."""
    _folder: str = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)
    _told: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self._folder = "" if self.options.output in ("", ".") else os.path.join(self.options.output, "")
        self._root = os.path.realpath(self.options.output or ".")
        self.listing = leftovers.Listing(self._folder)
        self.locks = NameLocks(self.options.output or ".", warn=self.warn)

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
        return (
            error.folder is None or not os.access(self._root, os.W_OK) or os.path.realpath(error.folder) == self._root
        )

    def promised(self) -> int:
        """Return the bytes that the files under way have yet to write."""
        return sum(file.left for file in self.unfinished)

    def check_folder(self, name: str) -> None:
        """Raise `errors.NameRefused` where a symbolic link in the place of a sub-folder leads out of the output."""
        path = self._folder
        for part in name.split("/")[:-1]:
            path = os.path.join(path, part)
            if os.path.islink(path):
                real = os.path.realpath(path)
                if real != self._root and not real.startswith(os.path.join(self._root, "")):
                    raise errors.NameRefused(f"{path} is a symbolic link that leaves the output folder")

    def path(self, name: str) -> str:
        """Return the final path of a file called ``name``."""
        return self._folder + name

    def existed(self, name: str, url: str) -> str | None:
        """Return as `existing`, but perhaps not what came after the run began: saves asking for most names."""
        return self.existing(name, url) if self.options.dry_run or self.listing.may_have(name) else None

    def existing(self, name: str, url: str) -> str | None:
        """Return the path under which the file is there already: its name, or the variant of its URL.

        None with any other ``--existing`` than skip. Raises `errors.NameRefused` where a folder has the name.
        """
        if self.options.existing != "skip":
            return None
        path = self._folder + name
        if not os.access(path, os.F_OK):  # cheaper than a stat that fails; a link to nothing is found when it matters
            return None
        if os.path.isdir(path):
            raise errors.NameRefused(f"{path} is a folder")
        told = self.listing.has_state(name) and not self.options.dry_run
        if told and not leftovers.whole(path, boot=files.boot_id()):
            self.warn(f"{path} may be damaged, the machine went down as it was saved: it is downloaded again")
            return None
        # Where the name was another URL's in an earlier run, this one's file lies beside it.
        variant = self._folder + naming.collided(name, url)
        return variant if os.path.lexists(variant) else path


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
