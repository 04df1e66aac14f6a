"""The plain data that travels through gdl: what is asked for, what is running, what came of it.

What is made for each URL is not frozen, though nobody changes it: a frozen one costs three times as much to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.errors import GdlError, ItemError

Status = Literal["saved", "skipped", "failed"]
Bytes = bytes  # `Result` has a field called bytes


@dataclass(slots=True)
class Address:
    """Where a file is: an http(s) URL made ready for the wire, its credentials kept apart."""

    url: str
    """ASCII, percent-encoded, host in A-labels, without user information and fragment: safe to print."""
    username: str | None = field(default=None, repr=False)
    """From the URL's user information, percent-decoded."""
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest the list promises for a file."""

    algorithm: Literal["md5", "sha1", "sha256", "sha512"]
    hexdigest: str
    """Lower case."""

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hexdigest}"


@dataclass(slots=True)
class Item:
    """One file to download, as a list, an argument or a program asked for it."""

    address: Address
    index: int = 1
    """Its place in the run, counted from 1 over all sources."""
    name: str | None = None
    """The name the list gave, possibly with ``/`` for sub-folders; sanitised only when it is used."""
    mirrors: tuple[Address, ...] = ()
    """Other addresses of the same file, in the order the list gave them."""
    checksum: Checksum | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """This item's own request headers; they win over those of the options."""
    referer: str | None = None
    user_agent: str | None = None
    extra: Mapping[str, object] | None = None
    """Keys of a JSON line that gdl does not know; they come back in the result."""
    source: str = "argument"
    """The list's name as the user gave it, ``-`` for standard input, ``argument`` for a URL argument."""
    line: int = 0
    """The line in its list, counted from 1; 0 where there are no lines."""
    text: bytes = field(default=b"", repr=False)
    """The input line or lines as they came (no final newline), to be fed back in by ``--failed``."""

    @property
    def url(self) -> str:
        """The URL without credentials, as it may be printed."""
        return self.address.url


@dataclass(frozen=True, slots=True)
class BadItem:
    """A list line that is no usable item: a failure that keeps its place in the run."""

    error: ItemError
    index: int
    source: str
    line: int
    text: bytes = field(default=b"", repr=False)
    url: str | None = None
    """The URL, if there was one and it can be shown without credentials."""
    extra: Mapping[str, object] | None = None


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of one item. ``--json`` prints these fields under these names."""

    url: str | None
    status: Status
    reason: str | None = None
    """For skipped: ``exists``, ``duplicate``, ``in progress``, ``dry run``. For failed: the error's sentence."""
    final_url: str | None = None
    """The URL that answered, after redirects; None where nothing did."""
    path: str | None = None
    """The final path, output folder included: of the file that is there, or with ``dry run`` would be."""
    bytes: int = 0
    """Size of the file in bytes where it was saved, else the bytes received."""
    sha256: str | None = None
    checksum: str | None = None
    """The digest of ``--checksum-algorithm``, else the one that the list gave to check, as ``sha512:HEX``."""
    content_type: str | None = None
    """The media type of the bytes where they were recognised, else what the server declared."""
    http_status: int | None = None
    attempts: int = 0
    """Requests made, redirects not counted."""
    elapsed: float = 0.0
    """Seconds from the first request's start to the result, waits between tries included."""
    error: GdlError | None = None
    source: str = "argument"
    line: int = 0
    text: Bytes = field(default=b"", repr=False)
    """The input as it came; may hold credentials, so only ``--failed`` writes it."""
    extra: Mapping[str, object] | None = None


@dataclass(slots=True)
class Running:
    """A transfer in flight, updated by it and read by the progress display."""

    item: Item
    started: float
    """Monotonic seconds."""
    name: str
    """What to call it on a screen: the file's name as far as it is known."""
    received: int = 0
    """Body bytes on disk or in memory by now."""
    resumed: int = 0
    """Those of them that were there before this try."""
    counted: int = 0
    """Those of them whose requests have ended, so that the scheduler knows of them already."""
    total: int | None = None
    """Body bytes promised, where the server said."""
    attempts: int = 0
    """The number of the try that runs, from 1."""

    def restart(self) -> None:
        """A request is made, of which nothing has come yet."""
        self.received = self.resumed = self.counted = 0
        self.total = None


@dataclass(slots=True)
class Progress:
    """What the responses of an item told so far, for its result."""

    final_url: str | None = None
    http_status: int | None = None
    content_type: str | None = None

    def become(self, other: Progress) -> None:
        """Tell what ``other`` tells."""
        self.final_url, self.http_status, self.content_type = other.final_url, other.http_status, other.content_type


@dataclass(slots=True)
class Saved:
    """A file under its final name."""

    path: str
    size: int
    """Bytes."""
    digests: tuple[Checksum, ...] = ()
    """Of its bytes, that of ``--checksum-algorithm`` first."""


@dataclass(slots=True)
class Tally:
    """The run in numbers, updated by the engine."""

    read: int = 0
    """Items read from the sources so far."""
    exhausted: bool = False
    """Whether the sources have been read to their end."""
    saved: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    """Bytes of the saved files."""
    received: int = 0
    """Body bytes received over the network, failed attempts included."""
    waiting: int = 0
    """Items that wait for another try."""

    def count(self, result: Result) -> None:
        """Take note of a result."""
        if result.status == "saved":
            self.saved += 1
            self.bytes += result.bytes
        elif result.status == "skipped":
            self.skipped += 1
        else:
            self.failed += 1

    @property
    def done(self) -> int:
        """Items that have their result."""
        return self.saved + self.skipped + self.failed


class Listener:
    """Told what happens in a run. Called from the engine's greenlets: be quick, never block."""

    def finished(self, result: Result) -> None:
        """An item has its one and only result."""

    def retrying(self, item: Item, error: ItemError, delay: float, attempt: int) -> None:
        """Attempt number ``attempt`` (from 1) failed; the item waits ``delay`` seconds for the next."""

    def noted(self, message: str) -> None:
        """Something worth a line with ``-v``."""

    def warned(self, message: str) -> None:
        """Something everybody should see, once."""
