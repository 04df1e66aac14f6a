"""Spans are sets of bytes: whatever is added in whatever order, each set has one normal list."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.spans import Span, add, covered, gaps, is_normal

ranges = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def members(spans: list[Span]) -> set[int]:
    return {byte for start, end in spans for byte in range(start, end)}


def build(*added: Span) -> list[Span]:
    spans: list[Span] = []
    for start, end in added:
        add(spans, start, end)
    return spans


@pytest.mark.parametrize(
    ("spans", "added", "expected"),
    [
        ([], (0, 5), [(0, 5)]),
        ([], (5, 5), []),
        ([(0, 5)], (3, 3), [(0, 5)]),
        ([(0, 5)], (9, 2), [(0, 5)]),
        ([(0, 5)], (5, 9), [(0, 9)]),
        ([(0, 5)], (2, 4), [(0, 5)]),
        ([(0, 5)], (6, 9), [(0, 5), (6, 9)]),
        ([(4, 6)], (0, 3), [(0, 3), (4, 6)]),
        ([(4, 6)], (0, 4), [(0, 6)]),
        ([(4, 6)], (0, 9), [(0, 9)]),
        ([(0, 2), (4, 6)], (2, 4), [(0, 6)]),
        ([(0, 2), (4, 6), (8, 9)], (1, 5), [(0, 6), (8, 9)]),
        ([(0, 2), (4, 6), (8, 9)], (4, 5), [(0, 2), (4, 6), (8, 9)]),
        ([(0, 1), (4, 5), (8, 9)], (2, 3), [(0, 1), (2, 3), (4, 5), (8, 9)]),
        ([(2, 3), (5, 6), (8, 9)], (0, 20), [(0, 20)]),
    ],
)
def test_what_is_added_merges_with_what_it_touches(spans: list[Span], added: Span, expected: list[Span]) -> None:
    add(spans, *added)
    assert spans == expected


@given(st.lists(ranges, max_size=30))
def test_adding_is_union_and_keeps_the_list_normal(added: list[Span]) -> None:
    spans: list[Span] = []
    bytes_there: set[int] = set()
    for start, end in added:
        add(spans, start, end)
        bytes_there |= set(range(start, end))
        assert members(spans) == bytes_there
        assert is_normal(spans)
    assert covered(spans) == len(bytes_there)


@given(st.lists(ranges, max_size=12).flatmap(lambda added: st.tuples(st.just(added), st.permutations(added))))
def test_the_order_of_adding_does_not_matter(orders: tuple[list[Span], list[Span]]) -> None:
    assert build(*orders[0]) == build(*orders[1])


@given(st.lists(ranges, max_size=12), st.integers(0, 90))
def test_gaps_are_what_is_missing(added: list[Span], total: int) -> None:
    spans = build(*added)
    missing = gaps(spans, total)
    assert is_normal(missing)
    assert members(missing) == set(range(total)) - members(spans)


@given(st.lists(ranges, max_size=12), st.integers(0, 90))
def test_filling_all_gaps_leaves_one_span(added: list[Span], total: int) -> None:
    spans = build(*added)
    whole = max([total, *(end for _, end in spans)])
    for start, end in gaps(spans, whole):
        add(spans, start, end)
    assert spans == ([(0, whole)] if whole else [])


@given(st.lists(ranges, max_size=12))
def test_a_normal_list_is_still_normal_after_json(added: list[Span]) -> None:
    assert is_normal(json.loads(json.dumps(build(*added))))


@pytest.mark.parametrize(
    "spans",
    [
        None,
        5,
        "ab",
        {"0": 5},
        ((0, 5),),
        [5],
        ["ab"],
        [None],
        [[0]],
        [[0, 5, 9]],
        [[0.0, 5.0]],
        [[False, True]],
        [["0", "5"]],
        [[None, 5]],
        [[0, float("nan")]],
        [[-1, 5]],
        [[5, 5]],
        [[5, 4]],
        [[0, 5], [5, 9]],
        [[0, 5], [3, 9]],
        [[6, 9], [0, 5]],
    ],
    ids=str,
)
def test_what_is_not_normal_is_found_out(spans: object) -> None:
    assert not is_normal(spans)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=2),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    )
)
def test_anything_read_from_disk_may_be_asked_about(value: object) -> None:
    if is_normal(value):
        assert isinstance(value, list)
        assert build(*((start, end) for start, end in value)) == [tuple(span) for span in value]
