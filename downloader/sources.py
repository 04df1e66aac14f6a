"""Sources to items, lazily: list files, standard input, URL arguments, and what a program passes.

Nothing is held but the chunk being read and one entry, so a list may have any length or be a pipe that is
still being written. Whatever is wrong with an entry becomes a `BadItem` in its place; only `check` raises.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count as counter
from typing import TYPE_CHECKING

from downloader import urls
from downloader.entries import LONGEST, Draft, read_json, read_mapping, read_text
from downloader.errors import InputError, UsageError
from downloader.grammar import BLANKS
from downloader.items import BadItem, Item
from downloader.lines import Kind, classify, group, split_lines
from downloader.text import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from downloader.lines import Entry

    Chunks = Generator[bytes | None, None, None]

STDIN = "-"
"""The source that stands for standard input."""
COUNTED = 64 << 20
"""Bytes of the largest list `count` reads through."""

_CHUNK = 128 << 10
_PLAIN_LINE = re.compile(rb"https?://[^\s#]{1,%d}" % (LONGEST - 8))
"""A URL alone on its line, nothing about it to be told apart."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ARGUMENT = "argument"
_WARNED_KEYS = 100


class _UnreadableError(Exception):
    """A list that was being read cannot be read any further."""


def is_url(source: str) -> bool:
    """Tell whether a source is a URL, supported or not, rather than a list."""
    return urls.is_url(source.lstrip(BLANKS))


def check(sources: Sequence[str]) -> None:
    """Raise `UsageError` for the first source that cannot be read at all, before anything is started."""
    if sources.count(STDIN) > 1:
        raise UsageError("- (standard input) is given twice; it can be read only once")
    for source in sources:
        if source != STDIN and not is_url(source):
            _check_list(source)


def _check_list(path: str) -> None:
    if not path:
        raise UsageError("a source is empty: give a list file, - or a URL")
    shown = urls.shown(path)
    if ":" in shown.partition("@")[0]:  # perhaps a URL that lacks its http://
        shown = f"***@{shown.rpartition('@')[2]}" if "@" in shown else shown
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise UsageError(f"cannot read the list {shown}: {reason}; a URL begins with http:// or https://") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"cannot read the list {shown}: it is a folder; -o names the folder to save in")
    if not os.access(path, os.R_OK):
        raise UsageError(f"cannot read the list {shown}: permission denied; make it readable with chmod +r")


def _blocking_chunks(source: str | int) -> Chunks:
    with open(source, "rb", buffering=0, closefd=source != 0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def count(source: str, *, chunks: Callable[[str], Chunks] = _blocking_chunks) -> int | None:
    """Count the items a source gives; None where it is no regular file or has more than `COUNTED` bytes.

    ``chunks`` reads it, as in `read`.
    """
    if is_url(source):
        return 1
    try:
        status = os.stat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_size > COUNTED:
            return None
        with closing(chunks(source)) as read_chunks:
            return sum(1 for _ in group(split_lines(read_chunks), json_list=_is_json_list(source)))
    except (OSError, ValueError):
        return None


def read(
    sources: Sequence[str],
    *,
    chunks: Callable[[str | int], Chunks] = _blocking_chunks,
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[Item | BadItem]:
    """Read list files, ``-`` for standard input, and URLs, one item at a time.

    ``chunks`` gives the bytes of the list at a path, or of standard input for 0; by default it is read with blocking
    calls. None among the chunks says that nothing more is there right now, so that what was read is not held back.
    ``warn`` is told once of each aria2 option that is ignored. Closing the iterator closes the file.
    """
    indices = counter(1)
    warned: set[str] = set()
    for source in sources:
        if is_url(source):
            yield _from_argument(source, next(indices))
            continue
        yield from _from_list(file_name(source), chunks(0 if source == STDIN else source), indices, warned, warn)


def _guarded(chunks: Chunks) -> Chunks:
    """Tell errors of reading apart from those of whoever consumes the items."""
    try:
        yield from chunks
    except (OSError, ValueError) as error:
        raise _UnreadableError(getattr(error, "strerror", None) or str(error)) from error


def _is_json_list(source: str) -> bool:
    return source.lower().endswith((".jsonl", ".ndjson"))


def _from_list(
    source: str, chunks: Chunks, indices: Iterator[int], warned: set[str], warn: Callable[[str], None]
) -> Iterator[Item | BadItem]:
    number = 0

    def ignored(key: str) -> None:
        if key not in warned and len(warned) < _WARNED_KEYS:
            warned.add(key)
            warn(f"{source}:{number}: the option {urls.shown(key)} is not supported and ignored")

    with closing(_guarded(chunks)) as guarded:
        try:
            for entry in group(split_lines(guarded), json_list=_is_json_list(source)):
                number = entry.number
                yield _from_entry(entry, next(indices), source, ignored)
        except _UnreadableError as error:
            # What was cut off is not an item: half a URL is another URL.
            number += 1
            message = f"{source}:{number}: the list cannot be read from here on: {error}; start gdl again"
            yield BadItem(InputError(message), next(indices), source, number)


def _from_entry(entry: Entry, index: int, source: str, ignored: Callable[[str], None]) -> Item | BadItem:
    if entry.options is None and entry.problem is None and _PLAIN_LINE.fullmatch(entry.line):
        try:
            address = urls.parse(entry.line.decode())
            return Item(address, index, source=source, line=entry.number, text=entry.line)
        except (UnicodeDecodeError, InputError):
            pass  # said with its place below

    def fill(draft: Draft) -> None:
        if entry.problem is not None:
            raise InputError(f"this line is {entry.problem.value}")
        try:
            line, *options = (one.decode() for one in (entry.line, *(entry.options or ())))
        except UnicodeDecodeError:
            raise InputError("this line is not UTF-8: save the list as UTF-8") from None
        if classify(entry.line) is Kind.JSON:
            read_json(draft, line)
        else:
            read_text(draft, line, options, ignored)

    return _filled(fill, f"{source}:{entry.number}", index, source, entry.number, entry.text)


def _filled(
    fill: Callable[[Draft], None], place: str, index: int, source: str, line: int, text: bytes
) -> Item | BadItem:
    draft = Draft()
    try:
        fill(draft)
        if draft.address is None:
            raise InputError("there is no URL")
    except InputError as error:
        url = draft.address.url if draft.address else None
        return BadItem(InputError(f"{place}: {error}"), index, source, line, text, url, draft.extra)
    return Item(
        draft.address,
        index,
        name=draft.name,
        mirrors=draft.mirrors,
        checksum=draft.checksum,
        headers=tuple(draft.headers),
        referer=draft.referer,
        user_agent=draft.user_agent,
        extra=draft.extra,
        source=source,
        line=line,
        text=text,
    )


def from_program(wanted: Iterable[str | Mapping[str, object] | Item]) -> Iterator[Item | BadItem]:
    """Make items of what a program passes: URLs, mappings with the keys of a JSON line, or ready items.

    Items are numbered anew. Anything else is a `BadItem`; a text or mapping alone counts as a list of one.
    """
    if isinstance(wanted, str | Mapping | Item):
        wanted = (wanted,)
    things: Iterable[object] = wanted  # callers without a type checker pass anything
    for index, one in enumerate(things, 1):
        if isinstance(one, Item):
            yield replace(one, index=index)
        elif isinstance(one, str):
            yield _from_argument(one, index)
        elif isinstance(one, Mapping):
            yield _filled(partial(read_mapping, value=one), f"item {index}", index, _ARGUMENT, 0, _json(one))
        else:
            message = f"item {index}: give a URL as text, a mapping or an Item, not {type(one).__name__}"
            yield BadItem(InputError(message), index, _ARGUMENT, 0)


def _from_argument(argument: str, index: int) -> Item | BadItem:
    url = argument.strip(BLANKS)
    # A blank would hide a password's rest from redaction; without :// nothing tells user information.
    place = urls.shown(re.sub(r"\s", "%20", url, flags=re.ASCII)) if is_url(url) else f"item {index}"
    return _filled(lambda draft: draft.set_urls([url]), place, index, _ARGUMENT, 0, _argument_text(url))


def _argument_text(url: str) -> bytes:
    """Write a URL argument as a line that gives the same item."""
    # What has control characters, or blanks in its fragment, would be another item as a line of text.
    if is_url(url) and not _CONTROL.search(url) and " " not in url.partition("#")[2]:
        try:
            return url.replace(" ", "%20").encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            pass
    return _json({"url": url})


def _json(value: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(dict(value), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return b""
