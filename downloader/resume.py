"""Whether a part may be continued, what to ask for, and whether an answer fits it. Pure.

A part is continued only where the server proves that the file is still the same, byte for byte: by a strong
validator in If-Range that comes back with the answer, or else by a checksum of the whole file, which is verified
before anything is published. The rows, for a part with its state::

    the state says                              asked for            the answer is
    ─────────────────────────────────────────   ──────────────────   ──────────────────────────────────────────
    same URL, strong ETag                       Range, If-Range      206 that fits, same ETag ── continue
    same URL, Last-Modified that is strong      Range, If-Range      206 that fits, same date ── continue
    no validator or a mirror's, and a checksum  Range                206 that fits            ── continue, verify
    all bytes are there                         the last byte        as above
    anything else, or under `RESUME_FROM`       everything           200                      ── begin again
                                                                     206 otherwise, 416       ── ask for everything

"Fits" means: Content-Range begins as asked, ends within what was asked and not at once, has the same total, and the
bytes are the file's own (no multipart, no content encoding).

A validator tells versions of one resource apart, not resources (RFC 9110 section 8.8.3). Where another one answers
than the part came from, the last `OVERLAP` bytes that are there are asked for once more, and must be the same.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

from downloader import spans
from downloader.grammar import BLANKS
from downloader.retry import http_date

if TYPE_CHECKING:
    from downloader.items import Checksum
    from downloader.responses import Head
    from downloader.spans import Span

RESUME_FROM = 1024 * 1024
"""Bytes from which on a file, and what is there of it, is worth continuing."""
LARGEST_STATE = 256 * 1024
"""Bytes a state file has at most; a longer one is no state of ours."""
OVERLAP = 64 * 1024
"""Bytes that are asked for once more where another resource answers than before: replicas of a file have them, too.
Fewer prove too little: before the first gap of a split file there may be no more than a header that many files have."""
LEAST_ANSWER = OVERLAP
"""Bytes that a 206 must bring where it brings less than was asked for, or asking for the rest would never end."""
LONGEST_VALIDATOR = 1024
"""Characters of a validator that is worth sending back."""
MOST_BYTES = 1 << 62
"""More than any file has: offsets beyond are no offsets."""

_MARK = b'{"gdl-part":'
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class State:
    """What is known of a part's bytes, as it is kept in ``NAME.part.json``."""

    url: str
    """The address they came from: the item's own or a mirror's, not what it redirected to."""
    total: int | None = None
    """Bytes of the whole file."""
    etag: str | None = None
    """The strong ETag of the response, as sent."""
    last_modified: str | None = None
    """Its Last-Modified, where that is as good as strong, as sent."""
    checksum: str | None = None
    """What the list promised of the whole file, ``sha256:HEX``."""
    done: list[Span] = field(default_factory=list)
    """The ranges that are in the part."""
    boot: str = ""
    """The boot of the machine in which they were written; after another one they may be lost."""
    synced: bool = False
    """Whether the disk has them for certain."""
    published: bool = False
    """Whether the part was about to get its final name."""
    inode: int = 0
    """The part's number in its file system."""
    tail: int = 0
    """The CRC-32 of the last bytes of the last range: numbers of deleted files are given again."""
    answered: str = ""
    """The `resource` that they came from, behind all redirects; empty where an older gdl did not note it."""

    @property
    def continuable(self) -> bool:
        """Whether a later try could continue the part."""
        return (
            self.total is not None
            and self.total >= RESUME_FROM
            and bool(self.etag or self.last_modified or self.checksum)
        )

    @property
    def worth_keeping(self) -> bool:
        """Whether there is something in it to be continued."""
        return self.continuable and spans.covered(self.done) >= RESUME_FROM

    def fits(self, size: int) -> bool:
        """Whether a part of ``size`` bytes can be the one it tells of."""
        return size <= (size if self.total is None else self.total) and (not self.done or self.done[-1][1] <= size)

    def dump(self) -> bytes:
        """Return the state as JSON, with a checksum of its own."""
        text = json.dumps(asdict(self), separators=(",", ":"))
        return b'%b 1, "crc32": %d, "state": %b}\n' % (_MARK, zlib.crc32(text.encode()), text.encode())


def is_state(data: bytes) -> bool:
    """Tell whether ``data`` was meant as a state of gdl's, damaged or not."""
    # A kill or a power cut before its first write was done leaves it empty, or full of zeros.
    return data.startswith(_MARK) or not data.strip(b"\0 \n")


def parse(data: bytes) -> State | None:
    """Read what `State.dump` has written; None for anything that it cannot have written."""
    try:
        outer = json.loads(data)
        inner = outer["state"]
        if outer["gdl-part"] != 1 or set(inner) | {"answered"} != {each.name for each in fields(State)}:
            return None
        state = State(**{**inner, "done": [(start, end) for start, end in inner["done"]]})
        known = asdict(state)
        if "answered" not in inner:  # written by a gdl that did not know of it
            del known["answered"]
        text = json.dumps(known, separators=(",", ":"))
        unharmed = zlib.crc32(text.encode()) == outer["crc32"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return state if unharmed and _sane(state) else None


def _sane(state: State) -> bool:
    texts = (state.url, state.boot, state.answered)
    optional = (state.etag, state.last_modified, state.checksum)
    fields_to_send = (state.etag, state.last_modified)
    numbers = [number for span in state.done for number in span]
    return (
        all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in optional)
        and all(text is None or _sendable(text) for text in fields_to_send)
        and all(isinstance(flag, bool) for flag in (state.synced, state.published))
        and all(type(number) is int for number in (*numbers, state.inode, state.tail))
        and (state.total is None or (type(state.total) is int and 0 <= state.total <= MOST_BYTES))
        and spans.is_normal(state.done)
        and (
            not state.done
            or (state.done[0][0] >= 0 and state.done[-1][1] <= (MOST_BYTES if state.total is None else state.total))
        )
    )


def _sendable(text: str) -> bool:
    """Whether a field's value can be sent as it came."""
    return len(text) <= LONGEST_VALIDATOR and text.isascii() and text.isprintable()


def resource(url: str) -> str:
    """Return what identifies the resource at ``url``: not its query, which may hold a signature that changes."""
    return url.partition("?")[0]


def remember(head: Head, *, url: str, answered: str, total: int | None, checksum: Checksum | None, boot: str) -> State:
    """Return the state of a part that begins with the response ``head`` to a request for ``url``.

    ``answered`` is the URL that sent it, which ``url`` may have redirected to.
    A validator is kept where it changes with every byte: a strong ETag, or a Last-Modified at least a minute older
    than Date (RFC 9110 sections 8.8.1 and 8.8.2.2).
    """
    promised = None if checksum is None else str(checksum)
    state = State(url, total, checksum=promised, boot=boot, answered=resource(answered))
    # What a proxy has transformed (203) is not what the validators are of (RFC 9110 section 15.3.4).
    if total is None or head.status == 203 or head.takes_ranges is False:
        return state
    etag = head.get("etag")
    # One of them: several, as a proxy joins them, have more quotes (RFC 9110 section 8.8.3).
    if etag and len(etag) > 2 and etag[0] == etag[-1] == '"' and etag.count('"') == 2 and _sendable(etag):
        state.etag = etag
    text = head.get("last-modified") or ""
    modified, date = http_date(text), http_date(head.get("date"))
    if modified is not None and date is not None and modified <= date - 60 and _sendable(text):
        state.last_modified = text
    return state


class Ask(NamedTuple):
    """A request for a range of a file, and what proves that the answer is of the same file."""

    start: int
    end: int
    """The byte behind the last one asked for."""
    total: int
    etag: str | None = None
    last_modified: str | None = None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Range and If-Range (RFC 9110 sections 14.2 and 13.1.5)."""
        asked = ("Range", f"bytes={self.start}-{self.end - 1}")
        validator = self.etag or self.last_modified
        return (asked, ("If-Range", validator)) if validator else (asked,)


def trusted(state: State, *, url: str, checksum: Checksum | None, boot: str) -> list[Span]:
    """Return the ranges of a part that may be built upon in asking ``url``; empty where it must be begun again.

    At least one byte is left to be asked for, even of a part that is complete, so that the server has its say.
    """
    if not state.worth_keeping or not (state.synced or state.boot == boot):
        return []
    if checksum is None and (state.url != url or not (state.etag or state.last_modified)):
        return []
    if checksum is not None and state.checksum not in (None, str(checksum)):
        return []
    done = list(state.done)
    if done == [(0, state.total)]:
        done = [(0, done[0][1] - 1)]
    return done


class Plan(NamedTuple):
    """How to go on with a part."""

    done: list[Span]
    """What of it is built upon."""
    ask: Ask
    """The request for the first range that is missing, and perhaps some bytes before it."""
    overlap: int = 0
    """So many of them, which are to be compared with those that are there."""


def plan(state: State, *, url: str, checksum: Checksum | None, boot: str) -> Plan | None:
    """Return how ``url`` can continue the part; None where the file must be begun again."""
    done = trusted(state, url=url, checksum=checksum, boot=boot)
    if not done or state.total is None:
        return None
    return Plan(done, ask(state, spans.gaps(done, state.total)[0], url=url))


def sent_to(address: str, plan: Plan, state: State) -> Plan | None:
    """Return how to go on as planned by a request to ``address``, which may be where another has redirected to.

    None where that is another resource than the part came from, and there are fewer than `OVERLAP` bytes before the
    first gap to compare with its own.
    """
    planned = plan.ask
    if state.answered == resource(address) or not (planned.etag or planned.last_modified):  # or a checksum proves it
        return plan
    there = next((end - start for start, end in plan.done if end == planned.start), 0)
    if there < OVERLAP:
        return None
    return Plan(plan.done, planned._replace(start=planned.start - OVERLAP), OVERLAP)


def ask(state: State, span: Span, *, url: str) -> Ask:
    """Return the request to ``url`` for ``span`` of the file of which ``state`` tells."""
    assert state.total is not None
    if state.url != url:  # another server's validators mean nothing here
        return Ask(*span, state.total)
    return Ask(*span, state.total, state.etag, state.last_modified)


class Range(NamedTuple):
    """The bytes a 206 brings."""

    start: int
    end: int
    """The byte behind the last one."""
    total: int


def content_range(head: Head) -> Range | None:
    """Return what the Content-Range of a single-part 206 says (RFC 9110 section 14.4); None without sense."""
    if (head.content_type or "").startswith("multipart/"):
        return None
    match = _CONTENT_RANGE.fullmatch((head.get("content-range") or "").strip(BLANKS))
    if match is None:
        return None
    first, last, total = map(int, match.groups())
    return Range(first, last + 1, total) if first <= last < total else None


def misfit(head: Head, asked: Ask) -> str | None:
    """Say why a 206 does not continue what was ``asked`` for; None where it does."""
    found = content_range(head)
    if found is None:
        return "its Content-Range makes no sense"
    if found.total != asked.total:
        return f"the file has {found.total:,} bytes now, not {asked.total:,}"
    if found.start != asked.start or found.end > asked.end:
        return f"it has bytes {found.start}-{found.end - 1}, asked for were {asked.start}-{asked.end - 1}"
    if found.end < asked.end and found.end - found.start < LEAST_ANSWER:
        return f"it brings only {found.end - found.start:,} bytes"
    if head.encoded:
        return "its bytes are encoded"
    if head.content_length not in (None, found.end - found.start):
        return "its length is not that of its range"
    return _changed(head, asked)


def is_part(head: Head) -> bool:
    """Whether a 200 is as long as the part of the file that its Content-Range tells of."""
    found = content_range(head) if head.get("content-range") is not None else None
    return found is not None and head.content_length == found.end - found.start < found.total


def not_whole(head: Head, asked: Ask) -> str | None:
    """Say why a 200 is not all of the file of which a range was ``asked``; None where it may be.

    Some servers send the range that was asked for, and call it all (RFC 9110 section 15.3.1).
    """
    if head.get("content-range") is not None:
        found = content_range(head)
        if found is None or (found.start, found.end) != (0, found.total):
            return "it has a Content-Range"
    length = head.content_length
    if head.encoded or head.is_chunked or length is None:
        return "it does not tell how long the file is"
    if length == asked.total:
        return None
    if length == asked.end - asked.start:
        return "it is as long as the range that was asked for"
    if (asked.etag or asked.last_modified) and _changed(head, asked) is None:
        return f"it has {length:,} bytes of the {asked.total:,} that its validator stands for"
    return None


def _changed(head: Head, asked: Ask) -> str | None:
    """Compare validators: what a 200 would have told must come with a 206 too (RFC 9110 section 15.3.7)."""
    etag, modified = head.get("etag"), head.get("last-modified")
    if asked.etag is not None:
        if etag is not None:
            return None if etag == asked.etag else "its ETag is another one"
        same = asked.last_modified is not None and modified == asked.last_modified
        return None if same else "it has no ETag"
    if asked.last_modified is not None:
        return None if modified == asked.last_modified else "its Last-Modified is another one, or missing"
    return None


def same(head: Head, state: State) -> bool:
    """Tell whether a 200 is of the very file whose beginning a part has, so that asking for the rest may pay."""
    if head.encoded or head.content_length != state.total:
        return False
    if not (state.etag or state.last_modified):
        return True
    return _changed(head, Ask(0, 1, state.total or 0, state.etag, state.last_modified)) is None
