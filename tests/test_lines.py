"""Bytes to lines and lines to entries, however the bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.lines import MAX_ENTRY, MOST_OPTIONS, Entry, Kind, Problem, classify, group, split_lines


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", Kind.NOTHING),
        (b" \t\r", Kind.NOTHING),
        (b"# https://h.example/a", Kind.NOTHING),
        (b"  # out=x", Kind.NOTHING),
        (b"https://h.example/a", Kind.TEXT),
        (b"  https://h.example/a?x=1", Kind.TEXT),
        (b"out=x", Kind.TEXT),
        (b"  example.org/a?x=1", Kind.TEXT),
        (b"  =x", Kind.TEXT),
        (b"\xff", Kind.TEXT),
        (b"\0", Kind.TEXT),
        (b"  out=x", Kind.OPTION),
        (b"\tuser-agent = x", Kind.OPTION),
        (b"{", Kind.JSON),
        (b'  {"url": "out=x"}', Kind.JSON),
    ],
)
def test_a_line_is_told_by_its_beginning(line: bytes, kind: Kind) -> None:
    assert classify(line) is kind


@given(st.binary(), st.lists(st.integers(0, 100)))
def test_lines_are_the_same_however_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert list(split_lines(chunks)) == expected


@pytest.mark.parametrize("size", [1, 1000, MAX_ENTRY + 1, 3 * MAX_ENTRY])
def test_a_line_that_is_too_long_is_cut_the_same_wherever_its_chunks_end(size: int) -> None:
    long = b"x" * (MAX_ENTRY + 5) if size == 1 else b"x" * (2 * MAX_ENTRY)
    data = b"a\n" + long + b"\nb"
    chunks = (data[i : i + size] for i in range(0, len(data), size))
    assert list(split_lines(chunks)) == [b"a", b"x" * (MAX_ENTRY + 1), b"b"]


def test_idleness_is_passed_on_unless_an_indented_line_has_begun() -> None:
    chunks = [b"a\n", None, b"b", None, b"\n  o", None, b"ut=x\n", None]
    assert list(split_lines(chunks)) == [b"a", None, None, b"b", b"  out=x", None]


def grouped(data: bytes, *, json_list: bool = False) -> list[Entry]:
    return list(group(split_lines([data]), json_list=json_list))


def test_option_lines_belong_to_the_text_above_them() -> None:
    data = b"\xef\xbb\xbfa\r\n\r\n# note\n  out=x\r\n\tdir=y\nb\n{}\n"
    assert grouped(data) == [Entry(1, b"a", [b"  out=x", b"\tdir=y"]), Entry(6, b"b"), Entry(7, b"{}")]
    assert grouped(data)[0].text == b"a\n  out=x\n\tdir=y"


@pytest.mark.parametrize("data", [b"  out=x\n", b"{}\n  out=x\n", b"# a\n  out=x\n"])
def test_an_option_without_a_url_stands_for_itself_and_its_text_joins_no_other(data: bytes) -> None:
    entry = grouped(data)[-1]
    assert entry.problem is Problem.STRAY
    assert entry.text == b"out=x"


def test_an_option_that_comes_after_its_url_was_let_go_is_told_apart() -> None:
    lines = [b"a", None, b"  out=x", b"  dir=y", b"{}", b"  out=x", b"b", b"  out=z"]
    problems = [entry.problem for entry in group(lines)]
    assert problems == [None, Problem.LATE, Problem.LATE, None, Problem.STRAY, None]


def test_in_a_json_list_every_line_stands_for_itself() -> None:
    problems = [entry.problem for entry in grouped(b"{}\n  out=x\nhttps://h/\n", json_list=True)]
    assert problems == [None, Problem.NOT_JSON, Problem.NOT_JSON]


def test_an_entry_is_bounded_with_its_options() -> None:
    option = b"  out=" + b"x" * 3000 + b"\n"
    entries = grouped(b"a\n" + option * 500 + b"b\n" + b"c" * (MAX_ENTRY + 1) + b"\n  out=x\nd\n")
    assert [(entry.number, entry.line, entry.options, entry.problem) for entry in entries] == [
        (1, b"", None, Problem.TOO_LONG),
        (502, b"b", None, None),
        (503, b"", None, Problem.TOO_LONG),
        (505, b"d", None, None),
    ]
    assert entries[0].text == b""


@pytest.mark.parametrize("more", [0, 1, 5000])
def test_an_entry_has_so_many_options_at_most(more: int) -> None:
    first, last = grouped(b"a\n" + b"  k=v\n" * (MOST_OPTIONS + more) + b"b\n")
    assert (last.line, last.number) == (b"b", MOST_OPTIONS + more + 2)
    if more:
        assert (first.line, first.options, first.problem, first.text) == (b"", None, Problem.TOO_MANY, b"")
    else:
        assert (first.line, first.options, first.problem) == (b"a", [b"  k=v"] * MOST_OPTIONS, None)


def test_a_long_comment_is_a_comment() -> None:
    assert grouped(b"#" * (MAX_ENTRY * 2) + b"\na") == [Entry(2, b"a")]
