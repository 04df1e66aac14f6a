"""Who gets which name: every URL once, every name once, in the list's order, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from downloader import naming
from downloader.errors import StopRun
from downloader.hashes import digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

SPILL = 8_000
"""Texts a `SeenSet` keeps in memory before they move to disk: more than most lists have, and few enough for two."""
LONG = 200
"""Characters of a text above which its digest is kept in its place."""
BATCH = 256
"""Entries that move at a time: writing all at once would keep everybody else waiting."""
STRIDE = 16
"""Entries that are added before the next batch moves."""


MOST_WAITING = 1024
"""Names that may be held back by one before them, however long that takes."""


class SeenSet:
    """A set of texts that grows on disk, not in memory: it answers whether a text is new.

    About ``limit`` of the newest stay in memory. The others lie as digests in a temporary SQLite database that vanishes
    with the process. Raises `errors.StopRun` when that cannot grow.
    """

    def __init__(self, *, limit: int = SPILL) -> None:
        self._limit = limit
        self._recent: set[str | bytes] = set()  # the texts, or the digests of long ones
        self._leaving: set[str | bytes] = set()
        self._moving: list[bytes] = []  # the digests of those of them that are still to be written, in order
        self._database: sqlite3.Connection | None = None

    def add(self, text: str) -> bool:
        """Add ``text`` and return whether it was not there before."""
        recent = self._recent
        key = text if len(text) <= LONG else _short(text)
        if key in recent or key in self._leaving:
            return False
        if self._database is not None and self._spilled(self._database, _short(key)):
            return False
        recent.add(key)
        if self._moving:
            if not len(recent) % STRIDE:
                self._move()
        elif len(recent) >= self._limit:
            self._leaving, self._recent = recent, set()
            # Neighbours of the tree are written together.
            self._moving = sorted(map(_short, recent))
            self._move()
        return True

    def close(self) -> None:
        """Drop everything."""
        for texts in (self._recent, self._leaving, self._moving):
            texts.clear()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _spilled(self, database: sqlite3.Connection, short: bytes) -> bool:
        with _told_as_stop():
            row = database.execute("SELECT 1 FROM seen WHERE digest = ?", (short,)).fetchone()
        return row is not None

    def _move(self) -> None:
        import sqlite3

        batch = self._moving[-BATCH:]
        del self._moving[-BATCH:]
        with _told_as_stop():
            if self._database is None:
                # An empty name is SQLite's for a private file that is deleted when closed.
                self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
                self._database.execute("PRAGMA journal_mode = OFF")
                self._database.execute("PRAGMA synchronous = OFF")
                self._database.execute("PRAGMA cache_size = -256")  # KiB: room for the inner nodes of a million
                self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((short,) for short in batch))
            self._database.execute("COMMIT")
        if not self._moving:
            self._leaving = set()


def _short(key: str | bytes) -> bytes:
    """Return the 128 bits by which a text is known on the disk."""
    return digest(key, 16) if isinstance(key, str) else key


@contextmanager
def _told_as_stop() -> Iterator[None]:
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise StopRun(f"the temporary folder cannot hold the list of what was seen: {error}") from error


MOST_NUMBERED = 1024
"""Names of which it is remembered how far they are numbered, so that not every number is tried again."""


def variants(name: str, url: str, limit: int = naming.LIMIT, *, first: int = 2) -> Iterator[str]:
    """Give the names that belong to ``url``, in ``limit`` bytes; all but the first are for lists made to collide.

    From the third on they have numbers, beginning with ``first``.
    """
    for digits in (8, 16):
        yield naming.collided(name, url, digits=digits, limit=limit)
    for number in count(first):
        yield _numbered(name, url, number, limit)


def _numbered(name: str, url: str, number: int, limit: int) -> str:
    digits = naming.collided(name, url, digits=16, limit=limit - len(f" ({number})"))
    return naming.numbered(digits, number, limit=limit)


@dataclass(slots=True)
class _Entry:
    url: str
    want: str | None = None
    notify: Callable[[], None] | None = None
    ended: bool = False


class NameLedger:
    """Gives each item its name, so that of two that want one name the later in the list gets the other.

    Items `enter` in the list's order. One whose name is known (from the list or its URL) gets it as soon as all
    before it have theirs, which is at once in most lists. One whose name only its response tells holds back those
    behind it until it has said its `want`, is dropped, or somebody loses patience (`overtake`); held back means
    that their bytes wait in their part files, not that they wait with their downloads.
    """

    def __init__(self, *, limit: int = SPILL) -> None:
        self.longest: Callable[[str], int] = lambda _: naming.LIMIT
        """Tells how many bytes each part of a name may have."""
        self._taken = SeenSet(limit=limit)
        self._waiting: OrderedDict[int, _Entry] = OrderedDict()
        self._given: dict[int, str] = {}
        self._numbered: OrderedDict[str, int] = OrderedDict()

    def enter(self, index: int, url: str, want: str | None) -> str | None:
        """Register item ``index`` and return its name if that is settled already."""
        if want is not None and not self._waiting:
            return self.claim(want, url)
        self._waiting[index] = _Entry(url, want)
        return None

    def want(self, index: int, name: str, url: str) -> str | None:
        """Say which name item ``index`` wants now; return the name it gets, or None while others come first."""
        entry = self._waiting.get(index)
        if entry is None:
            return self.claim(name, url)
        entry.want = name
        self._settle()
        return self._given.pop(index, None)

    def given(self, index: int) -> str | None:
        """Take the name that item ``index`` has been given in the meantime, or None."""
        return self._given.pop(index, None)

    def watch(self, index: int, notify: Callable[[], None]) -> None:
        """Call ``notify`` once when the name of the waiting item ``index`` is settled."""
        self._waiting[index].notify = notify

    def drop(self, index: int) -> None:
        """Item ``index`` has ended: a name known beforehand stays its own, an unknown one holds nobody back."""
        entry = self._waiting.get(index)
        if entry is not None:
            if entry.want is None:
                del self._waiting[index]
            entry.ended = True
            self._settle()
            if len(self._waiting) > MOST_WAITING:
                self.overtake(index)
        self._given.pop(index, None)

    def yield_place(self, index: int) -> None:
        """Item ``index`` will take long: nobody waits for its name any more."""
        entry = self._waiting.get(index)
        if entry is not None and entry.want is None:
            del self._waiting[index]
            self._settle()

    def overtake(self, index: int) -> None:
        """Stop waiting for all that come before ``index`` and have not said a name."""
        for earlier in list(self._waiting):
            if earlier >= index:
                break
            if self._waiting[earlier].want is None:
                del self._waiting[earlier]
        self._settle()

    def claim(self, name: str, url: str) -> str:
        """Take ``name``, or where it is taken the variant of it that belongs to ``url``."""
        if self._taken.add(naming.key(name)):
            return name
        limit = self.longest(name)
        numbered = naming.collided(name, url, digits=16, limit=limit)
        first = self._numbered.get(numbered, 2)
        for number, variant in enumerate(variants(name, url, limit, first=first), first - 2):
            if self._taken.add(naming.key(variant)):
                if number >= first:
                    self._remember(numbered, number + 1)
                return variant
        raise AssertionError("variants never end")

    def _remember(self, numbered: str, following: int) -> None:
        self._numbered[numbered] = following
        self._numbered.move_to_end(numbered)
        if len(self._numbered) > MOST_NUMBERED:
            self._numbered.popitem(last=False)

    def close(self) -> None:
        """Drop everything."""
        self._taken.close()

    def _settle(self) -> None:
        while self._waiting:
            index, entry = next(iter(self._waiting.items()))
            if entry.want is None:
                return
            del self._waiting[index]
            name = self.claim(entry.want, entry.url)
            if not entry.ended:
                self._given[index] = name
                if entry.notify is not None:
                    entry.notify()
