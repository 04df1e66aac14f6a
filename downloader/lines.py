"""Bytes to lines, and lines to entries: what belongs together in a list, told without decoding it.

An entry is one item's line, with the indented ``key=value`` lines below it that are its options in aria2's
input files. One entry is all that is ever held: a list may be a pipe that never ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ENTRY = 1 << 20
"""The most bytes one line, or one entry with its option lines, may have."""
MOST_OPTIONS = 1000
"""The most option lines one entry may have."""

_BOM = b"\xef\xbb\xbf"
_BOMS = re.compile(rb"\A(?:\xef\xbb\xbf)+")
_OPTION = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*[ \t]*=")


class Kind(Enum):
    """What one line of a list is."""

    NOTHING = "blank, or a comment"
    TEXT = "a URL with what belongs to it, or an attempt at one"
    JSON = "a JSON object, or an attempt at one"
    OPTION = "an indented key=value line"


class Problem(Enum):
    """Why an entry cannot be an item, whatever it holds; the value completes "this line is …"."""

    TOO_LONG = "longer than 1 MiB: is this a list of URLs?"
    TOO_MANY = "followed by more than 1,000 options"
    STRAY = "an option that belongs to no URL: write it right below the line of its URL"
    NOT_JSON = "no JSON object, as every line of a list named .jsonl or .ndjson is"
    LATE = "an option that came after its URL had been started: write a URL and its options in one go"


@dataclass(slots=True)
class Entry:
    """One item's lines, as bytes without line ends and byte order marks."""

    number: int
    """Of the first line, counted from 1."""
    line: bytes
    options: list[bytes] | None = None
    problem: Problem | None = None

    @property
    def text(self) -> bytes:
        """The lines as they came, fit to be read again: a stray option must not join the entry above it."""
        if self.problem in (Problem.TOO_LONG, Problem.TOO_MANY):
            return b""
        if self.problem is not None:
            return self.line.strip()
        return b"\n".join((self.line, *self.options)) if self.options else self.line


def classify(line: bytes) -> Kind:
    """Tell what a line without its byte order mark is."""
    if line.startswith(b"http"):
        return Kind.TEXT
    content = line.strip()
    if not content or content.startswith(b"#"):
        return Kind.NOTHING
    if content.startswith(b"{"):
        return Kind.JSON
    if line[0] in b" \t" and _OPTION.match(content):
        return Kind.OPTION
    return Kind.TEXT


def split_lines(chunks: Iterable[bytes | None]) -> Iterator[bytes | None]:
    """Cut chunks, however they fall, into lines without their line feeds.

    A line longer than `MAX_ENTRY` bytes is cut to one more than that. None among the chunks says that nothing
    more is there right now; it is passed on unless the line begun by then is indented, and so belongs to the
    entry above it.
    """
    rest = bytearray()
    for chunk in chunks:
        if chunk is None:
            if not rest.startswith((b" ", b"\t")):
                yield None
        elif b"\n" not in chunk:
            rest += chunk[: MAX_ENTRY + 1 - len(rest)]
        else:
            lines = chunk.split(b"\n")
            if rest:
                lines[0] = bytes(rest) + lines[0]
            rest = bytearray(lines.pop()[: MAX_ENTRY + 1])
            if max(map(len, lines)) > MAX_ENTRY:
                lines = [line[: MAX_ENTRY + 1] for line in lines]
            yield from lines
    if rest:
        yield bytes(rest)


def group(lines: Iterable[bytes | None], *, json_list: bool = False) -> Iterator[Entry]:
    """Put option lines to the line they belong to; blank lines and comments vanish.

    A line of text waits for the next one, which tells whether it is complete, or for None. In a ``json_list``
    every line is to be a JSON object and stands for itself.
    """
    waiting: Entry | None = None
    size = number = 0
    stray = Problem.STRAY
    for line in lines:
        if not line:
            if line is not None:
                number += 1
            elif waiting is not None:
                yield waiting
                waiting, stray = None, Problem.LATE
            continue
        number += 1
        if line.startswith(b"http") and len(line) <= MAX_ENTRY and not json_list:  # most lines
            if waiting is not None:
                yield waiting
            waiting, size, stray = Entry(number, line.rstrip(b"\r")), len(line), Problem.STRAY
            continue
        cleaned = _cleaned(line)
        kind = classify(cleaned)
        if kind is Kind.NOTHING:
            continue
        if kind is Kind.OPTION and waiting is not None:
            size += len(line) + 1
            _add_option(waiting, cleaned, size)
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        size = len(line)
        stray = stray if kind is Kind.OPTION else Problem.STRAY
        problem = _problem(size, kind, stray, json_list=json_list)
        entry = Entry(number, b"" if problem is Problem.TOO_LONG else cleaned, None, problem)
        if kind is Kind.TEXT and not json_list:
            waiting = entry
        else:
            yield entry
    if waiting is not None:
        yield waiting


def _problem(size: int, kind: Kind, stray: Problem, *, json_list: bool) -> Problem | None:
    if size > MAX_ENTRY:
        return Problem.TOO_LONG
    if json_list:
        return None if kind is Kind.JSON else Problem.NOT_JSON
    return stray if kind is Kind.OPTION else None


def _cleaned(line: bytes) -> bytes:
    # Lists that were put together from several may have the mark anywhere, and more than once.
    if line.startswith(_BOM):
        line = _BOMS.sub(b"", line, count=1)
    return line.rstrip(b"\r")


def _add_option(entry: Entry, line: bytes, size: int) -> None:
    if entry.problem is not None:
        return
    if size > MAX_ENTRY or len(entry.options or ()) >= MOST_OPTIONS:
        problem = Problem.TOO_LONG if size > MAX_ENTRY else Problem.TOO_MANY
        entry.line, entry.options, entry.problem = b"", None, problem
    elif entry.options is None:
        entry.options = [line]
    else:
        entry.options.append(line)
