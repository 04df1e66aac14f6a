"""Pieces never overlap, no byte is lost, and whatever fails on the way, the file becomes complete."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from downloader.segments import BOUNDS, GRAIN, MIN_PIECE, WORTH, Piece, Segments, worth
from downloader.spans import Span, covered, gaps, is_normal

KIB = 1024
MIB = 1024 * KIB
MOST = 7 * MIB

sizes = st.sampled_from([16 * KIB, 128 * KIB, MIB]) | st.integers(16 * KIB, 2 * MIB)
"""Bytes worth a request, not so few that a test of a file of pieces becomes one of millions of them."""
totals = st.integers(0, MOST) | st.integers(0, 7).map(lambda number: number * MIB) | st.integers(0, 40)


@st.composite
def spans_within(draw: st.DrawFn, total: int) -> list[Span]:
    edges = sorted(draw(st.sets(st.integers(0, total), max_size=8)))
    return list(zip(edges[::2], edges[1::2], strict=False))


def took(segments: Segments) -> Piece:
    piece = segments.take()
    assert piece is not None
    return piece


def span(piece: Piece | None) -> tuple[int, int | None] | None:
    return None if piece is None else (piece.at, piece.end)


# Tables.


@pytest.mark.parametrize(
    ("total", "done"),
    [
        (10, [(0, 11)]),
        (10, [(5, 5)]),
        (10, [(5, 3)]),
        (10, [(-1, 3)]),
        (10, [(0, 3), (3, 5)]),
        (10, [(4, 5), (0, 2)]),
        (0, [(0, 1)]),
        (None, [(1, 5)]),
        (None, [(0, 2), (3, 5)]),
    ],
)
def test_what_cannot_be_there_is_an_error(total: int | None, done: list[Span]) -> None:
    with pytest.raises(ValueError, match=r"spans|length"):
        Segments(total, done)


@pytest.mark.parametrize(
    ("total", "done", "handed_out"),
    [
        (0, [], []),
        (1, [], [(0, 1)]),
        (10, [], [(0, 10)]),
        (10, [(0, 10)], []),
        (10, [(0, 4)], [(4, 10)]),
        (10, [(2, 4), (7, 8)], [(0, 2), (4, 7), (8, 10)]),
        (2 * MIB - 1, [], [(0, 2 * MIB - 1)]),
        (2 * MIB, [], [(0, MIB), (MIB, 2 * MIB)]),
        (4 * MIB, [], [(0, MIB), (2 * MIB, 3 * MIB), (MIB, 2 * MIB), (3 * MIB, 4 * MIB)]),
        (3 * MIB, [(MIB, 2 * MIB)], [(0, MIB), (2 * MIB, 3 * MIB)]),
        # Aligned where that leaves enough for the second half.
        (2 * MIB + GRAIN, [], [(0, MIB + GRAIN), (MIB + GRAIN, 2 * MIB + GRAIN)]),
        (2 * MIB + 3 * GRAIN, [], [(0, MIB + 2 * GRAIN), (MIB + 2 * GRAIN, 2 * MIB + 3 * GRAIN)]),
        (2 * MIB + 2, [], [(0, MIB + 1), (MIB + 1, 2 * MIB + 2)]),
        (None, [], [(0, None)]),
        (None, [(0, 7)], [(7, None)]),
    ],
)
def test_gaps_are_handed_out_first_and_then_halves(
    total: int | None, done: list[Span], handed_out: list[tuple[int, int | None]]
) -> None:
    segments = Segments(total, done)
    pieces = []
    while segments.splittable:
        pieces.append(took(segments))
    assert segments.take() is None
    assert [span(piece) for piece in pieces] == handed_out
    assert segments.running == len(handed_out)


def test_the_piece_with_most_left_is_cut() -> None:
    segments = Segments(16 * MIB)
    first, second = took(segments), took(segments)
    segments.advance(first, 5 * MIB)
    assert span(took(segments)) == (12 * MIB, 16 * MIB)
    assert (span(first), span(second)) == ((5 * MIB, 8 * MIB), (8 * MIB, 12 * MIB))


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, (0, 10)), (5, None), (10, None), (20, (20, 30)), (30, None), (40, (40, 50)), (50, None), (60, None)],
)
def test_a_piece_is_had_where_a_gap_begins_and_nowhere_else(start: int, expected: tuple[int, int] | None) -> None:
    segments = Segments(50, [(10, 20), (30, 40)])
    assert span(segments.take_at(start)) == expected
    assert segments.take_at(start) is None  # it is fetched now


def test_a_body_of_unknown_length_is_one_piece_from_where_it_stopped() -> None:
    segments = Segments(None, [(0, 7)])
    assert segments.take_at(3) is None
    assert segments.unclaimed
    piece = segments.take_at(7)
    assert piece is not None
    assert segments.take() is None
    assert segments.take_at(7) is None
    assert not segments.splittable
    assert segments.room(piece) is None
    segments.advance(piece, 5)
    assert segments.extend(piece, None)
    segments.release(piece)
    assert span(segments.take()) == (12, None)
    assert not segments.complete


def test_the_length_is_known_when_a_body_of_unknown_length_has_ended() -> None:
    segments = Segments(None, [(0, 7)])
    piece = took(segments)
    segments.advance(piece, 3 * MIB)
    segments.finish()
    assert segments.complete
    assert segments.total == segments.received == 7 + 3 * MIB
    assert segments.room(piece) == segments.running == 0
    assert segments.take() is None
    assert not segments.extend(piece, None)


def test_finishing_changes_nothing_where_the_length_was_known() -> None:
    segments = Segments(10)
    piece = took(segments)
    segments.finish()
    assert segments.total == 10
    assert segments.room(piece) == 10


def test_an_empty_file_is_complete_at_once() -> None:
    assert Segments(0).complete
    assert not Segments(None).complete
    segments = Segments(None)
    took(segments)
    segments.finish()
    assert segments.complete
    assert segments.done == []


@pytest.mark.parametrize(
    ("done", "limit", "room"),
    [
        ([], None, 6 * MIB),
        ([], 7 * MIB, MIB),
        ([], 6 * MIB, 0),
        ([], MIB, 0),
        ([], 99 * MIB, 6 * MIB),
        ([(8 * MIB, 9 * MIB)], None, 4 * MIB),
        ([(8 * MIB, 9 * MIB)], 5 * MIB, MIB),
        ([(8 * MIB, 9 * MIB)], 9 * MIB, 4 * MIB),
    ],
)
def test_a_full_piece_goes_on_where_another_was_given_up(done: list[Span], limit: int | None, room: int) -> None:
    """The first response brings the whole file: it goes on behind its cut when the helper there has failed."""
    segments = Segments(12 * MIB, done)
    first, *helpers = (took(segments) for _ in range(len(done) + 2))
    segments.advance(first, segments.room(first) or 0)
    assert not segments.extend(first, limit)
    for helper in helpers:
        segments.release(helper)
    assert segments.extend(first, limit) is (room > 0)
    assert segments.room(first) == room


def test_a_full_piece_stops_where_another_is_running() -> None:
    segments = Segments(4 * MIB)
    first, second = took(segments), took(segments)
    segments.advance(first, 2 * MIB)
    assert not segments.extend(first, None)
    segments.advance(second, MIB)
    assert not segments.extend(first, None)
    segments.release(second)
    assert not segments.extend(first, None)  # the bytes right behind it are there
    assert span(segments.take()) == (3 * MIB, 4 * MIB)


def test_a_piece_that_is_not_full_just_goes_on() -> None:
    segments = Segments(10)
    piece = took(segments)
    assert segments.extend(piece, 5)
    assert segments.room(piece) == 10


def test_a_released_piece_has_no_room_and_its_rest_goes_to_others() -> None:
    segments = Segments(10)
    piece = took(segments)
    segments.advance(piece, 4)
    segments.release(piece)
    segments.release(piece)
    assert segments.room(piece) == 0
    with pytest.raises(ValueError, match="no room"):
        segments.advance(piece, 1)
    assert not segments.extend(piece, None)
    assert span(segments.take()) == (4, 10)


@pytest.mark.parametrize("count", [-1, 11])
def test_more_than_there_is_room_for_is_an_error(count: int) -> None:
    segments = Segments(20)
    piece = took(segments)
    segments.advance(piece, 10)
    with pytest.raises(ValueError, match="no room"):
        segments.advance(piece, count)
    assert segments.done == [(0, 10)]
    assert span(piece) == (10, 20)


@given(at=st.integers(0, 40 * MIB), left=st.integers(0, 40 * MIB), least=st.just(MIN_PIECE) | sizes)
def test_a_cut_leaves_two_pieces_worth_a_request(at: int, left: int, least: int) -> None:
    segments = Segments(at + left)
    segments.least = least
    if not at + left:
        return
    piece = took(segments)
    segments.advance(piece, at)
    other = segments.take()
    assert (other is not None) is (left >= 2 * least)
    if other is None:
        return
    assert (piece.end, other.end) == (other.start, at + left)
    first, second = other.start - at, at + left - other.start
    assert min(first, second) >= least
    assert abs(first - second) <= 2 * GRAIN
    assert other.start % GRAIN == 0 or second < least + GRAIN


# The size of pieces.


@pytest.mark.parametrize(
    ("total", "least", "most", "handed_out"),
    [
        (10, 1, 4, [(0, 4), (4, 8), (8, 10)]),
        (10, 2, 4, [(0, 4), (4, 8), (8, 10)]),  # what is left over is just worth a request
        (10, 3, 4, [(0, 4), (4, 10)]),  # and here it would not be
        (10, 4, 4, [(0, 4), (4, 10)]),
        (8, 4, 4, [(0, 4), (4, 8)]),
        (7, 4, 4, [(0, 7)]),
        (4, 4, 4, [(0, 4)]),
        (3, 4, 4, [(0, 3)]),
        (10, 4, 10, [(0, 10)]),
        (10, 4, None, [(0, 10)]),
    ],
)
def test_a_long_gap_is_handed_out_in_pieces_and_leaves_none_that_is_not_worth_it(
    total: int, least: int, most: int | None, handed_out: list[Span]
) -> None:
    segments = Segments(total)
    segments.least, segments.most = least, most
    pieces = []
    while segments.unclaimed:
        pieces.append(took(segments))
    assert [span(piece) for piece in pieces] == handed_out


def test_of_a_half_that_is_too_long_the_rest_is_left_for_others() -> None:
    segments = Segments(64 * MIB)
    first = took(segments)
    segments.most = 2 * MIB
    handed_out = [span(took(segments)), span(took(segments))]
    segments.most = 8 * MIB
    handed_out.append(span(took(segments)))
    assert handed_out == [(32 * MIB, 34 * MIB), (34 * MIB, 36 * MIB), (36 * MIB, 44 * MIB)]
    assert span(first) == (0, 32 * MIB)  # not cut again as long as there is a gap


def test_whoever_writes_the_first_piece_goes_on_into_a_gap_of_any_length() -> None:
    """Its response brings the bytes anyway: the bound is for requests that are still to be made."""
    segments = Segments(64 * MIB)
    first = took(segments)
    segments.most = 2 * MIB
    second = took(segments)
    segments.release(second)
    segments.advance(first, 32 * MIB)
    assert segments.extend(first, None)
    assert segments.room(first) == 32 * MIB


def test_a_response_on_its_way_gets_its_gap_whatever_its_length() -> None:
    segments = Segments(64 * MIB, [(0, 8 * MIB)])
    segments.most = 2 * MIB
    assert span(segments.take_at(8 * MIB)) == (8 * MIB, 64 * MIB)


def test_the_end_of_a_file_is_cut_finer_where_that_pays() -> None:
    segments = Segments(MIB)
    took(segments)
    assert segments.take() is None
    segments.least = 128 * KIB
    handed_out = []
    while (piece := segments.take()) is not None:
        handed_out.append(span(piece))
    assert handed_out[0] == (512 * KIB, MIB)
    assert len(handed_out) == 7


@pytest.mark.parametrize(
    ("previous", "waited", "took_seconds", "size", "expected"),
    [
        (2.0 * MIB, 0.05, 1.0, 2 * MIB, 2 * MIB),  # the wait is a twentieth of the rest: just right
        (2.0 * MIB, 0.1, 1.0, 2 * MIB, 3 * MIB),
        (2.0 * MIB, 0.025, 1.0, 2 * MIB, 1.5 * MIB),
        (4.0 * MIB, 0.0, 1.0, 2 * MIB, 2 * MIB),  # requests that cost nothing are worth any size
        (4.0 * MIB, 0.0, 0.0, 2 * MIB, 34 * MIB),
        (0.0, 0.1, 1e-9, MIB, 32 * MIB),  # all at once: no more than the bound
        (64.0 * MIB, 30.0, 1e-320, MIB, 64 * MIB),
        (3.0 * MIB, 0.1, 1.0, 0, 3 * MIB),
        (3.0 * MIB, 0.1, 0.0, 0, 3 * MIB),
    ],
)
def test_what_a_request_is_worth_is_learned_from_its_wait(
    previous: float, waited: float, took_seconds: float, size: int, expected: float
) -> None:
    assert worth(previous, waited, took_seconds, size) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "least", "most"),
    [
        (0.0, 128 * KIB, MIB),
        (128.0 * KIB, 128 * KIB, MIB),
        (300_000.7, 300_000, MIB),
        (1.0 * MIB, MIB, MIB),
        (5.5 * MIB, MIB, 5 * MIB + 512 * KIB),
        (64.0 * MIB, MIB, 64 * MIB),
        (1e18, MIB, 64 * MIB),
    ],
)
def test_pieces_fit_what_was_learned_within_bounds(found: float, least: int, most: int) -> None:
    segments = Segments(MIB)
    segments.fit(found)
    assert (segments.least, segments.most) == (least, most)
    assert (type(segments.least), type(segments.most)) == (int, int)


seconds = st.floats(0, 3600)


@given(previous=st.floats(0, BOUNDS[2]), waited=seconds, took_seconds=seconds, size=st.integers(0, 1 << 40))
def test_whatever_is_learned_stays_within_bounds(
    previous: float, waited: float, took_seconds: float, size: int
) -> None:
    segments = Segments(MIB)
    found = worth(previous, waited, took_seconds, size)
    assert 0 <= found <= BOUNDS[2]
    segments.fit(found)
    assert segments.most is not None
    assert BOUNDS[0] <= segments.least <= BOUNDS[1] <= segments.most <= BOUNDS[2]


@given(
    surprises=st.lists(st.tuples(seconds, seconds, st.integers(0, 1 << 40))),
    waited=st.floats(0.001, 1),
    rate=st.integers(10_000, 1 << 30),
)
def test_whatever_came_before_a_steady_server_is_known_within_a_few_requests(
    surprises: list[tuple[float, float, int]], waited: float, rate: int
) -> None:
    found = 2.0 * MIB
    for surprise in surprises:
        found = worth(found, *surprise)
    for _ in range(12):
        found = worth(found, waited, MIB / rate, MIB)
    assert found == pytest.approx(min(BOUNDS[2], WORTH * waited * rate), abs=16 * KIB)


# Schedules.


@given(
    data=st.data(),
    total=totals,
    randomness=st.integers(0, 2**32).map(Random),
    split=st.integers(1, 6),
    failures=st.sampled_from([0.0, 0.1, 0.5]),
    changes=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=60, deadline=None)
def test_any_schedule_with_any_failures_ends_with_the_very_file(
    data: st.DataObject, total: int, randomness: Random, split: int, failures: float, changes: float
) -> None:
    """Writers that write only where they are told to, in any order, each failing at any time, as connections do."""
    done = data.draw(spans_within(total))
    source = randomness.randbytes(total)
    target = bytearray(total)
    for start, end in done:
        target[start:end] = source[start:end]
    segments = Segments(total, done)
    pieces: list[Piece] = []
    written = 0
    for _ in range(5_000):
        if segments.complete:
            break
        if randomness.random() < changes:
            segments.fit(randomness.uniform(0, 4 * MIB))
        if len(pieces) < split and (piece := segments.take()) is not None:
            pieces.append(piece)
        piece = randomness.choice(pieces)
        room = segments.room(piece)
        assert room is not None
        count = min(room, randomness.choice([GRAIN, 16_000, 300_000]))
        target[piece.at : piece.at + count] = source[piece.at : piece.at + count]
        segments.advance(piece, count)
        written += count
        full = not segments.room(piece) and not segments.extend(piece, None)
        if full or randomness.random() < failures:
            segments.release(piece)
            pieces.remove(piece)
    assert segments.complete
    assert target == source
    assert written == total - covered(done)


class Fetching(RuleBasedStateMachine):
    """A file with a mark for each byte that was written, and pieces held by writers that do as they please."""

    @initialize(data=st.data(), total=st.none() | totals)
    def begin(self, data: st.DataObject, total: int | None) -> None:
        if total is None:
            length = data.draw(st.integers(0, MIB))
            done = [(0, length)] if length else []
        else:
            done = data.draw(spans_within(total))
        self.segments = Segments(total, done)
        self.marks = bytearray(MOST if total is None else total)
        for start, end in done:
            self.marks[start:end] = b"\1" * (end - start)
        self.running: deque[Piece] = deque()
        self.released: list[Piece] = []
        self.before: list[Span] = list(done)
        self.most_spans = len(done)

    def free(self) -> list[Span]:
        """What is missing and fetched by nobody, worked out from nothing but the marks and the pieces' own numbers."""
        if self.segments.total is None:
            return []
        taken = sorted([*self.segments.done, *((p.at, p.end) for p in self.running if p.end != p.at and p.end)])
        edges = [(0, 0), *taken, (self.segments.total, self.segments.total)]
        return [(before[1], after[0]) for before, after in pairwise(edges) if before[1] < after[0]]

    def got(self, piece: Piece) -> None:
        assert piece.start == piece.at
        assert piece.end is None or piece.at < piece.end
        self.running.append(piece)
        self.most_spans += 1

    @rule()
    def take(self) -> None:
        segments, free = self.segments, self.free()
        longest = max(((p.end or p.at) - p.at for p in self.running), default=0)
        promised = segments.splittable
        before = [(p, p.end) for p in self.running]
        piece = segments.take()
        assert (piece is not None) is promised
        if segments.total is None:
            assert promised is not bool(self.running)
        elif free:
            self.check_bounded(piece, *free[0])
        else:
            assert promised is (longest >= 2 * segments.least)
            cuts = [(p, end) for p, end in before if p.end != end]
            assert len(cuts) == promised
            for cut, end in cuts:
                assert cut.end is not None
                assert end is not None
                assert end - cut.at == longest
                assert min(cut.end - cut.at, end - cut.end) >= segments.least
                self.check_bounded(piece, cut.end, end)
        if piece is not None:
            self.got(piece)

    def check_bounded(self, piece: Piece | None, start: int, end: int) -> None:
        """It begins where the gap does, has neither too much nor too little, and what it leaves is worth a request."""
        least, most = self.segments.least, self.segments.most
        assert piece is not None
        assert piece.end is not None
        size, left = piece.end - start, end - piece.end
        assert piece.start == start
        assert most is None or size < most + least
        assert left == 0 or (left >= least and size == most)

    @rule(least=sizes, more=st.none() | st.just(0) | sizes)
    def resize(self, least: int, more: int | None) -> None:
        self.segments.least = least
        self.segments.most = None if more is None else least + more

    @rule(found=st.floats(0, 100 * MIB))
    def fit(self, found: float) -> None:
        self.segments.fit(found)

    @rule(data=st.data())
    def take_at(self, data: st.DataObject) -> None:
        free = dict(self.free())
        start = data.draw(st.sampled_from([*free, 0, 1, self.segments.received]))
        unknown = self.segments.total is None
        expected = not self.running and start == self.segments.received if unknown else start in free
        piece = self.segments.take_at(start)
        assert (piece is not None) is expected
        if piece is not None:
            assert span(piece) == (start, free.get(start))
            self.got(piece)

    @precondition(lambda self: self.running)
    @rule(count=st.integers(0, 2 * MIB) | st.just(MOST), turn=st.integers(0, 5))
    def advance(self, count: int, turn: int) -> None:
        self.running.rotate(turn)
        piece = self.running[0]
        room = self.segments.room(piece)
        count = min(count, len(self.marks) - piece.at if room is None else room)
        assert self.marks.find(1, piece.at, piece.at + count) == -1  # nobody wrote there
        self.marks[piece.at : piece.at + count] = b"\1" * count
        start = piece.at
        self.segments.advance(piece, count)
        assert piece.at == start + count

    @precondition(lambda self: self.running)
    @rule(excess=st.integers(1, MIB), turn=st.integers(0, 5))
    def advance_too_far(self, excess: int, turn: int) -> None:
        self.running.rotate(turn)
        for piece in [self.running[0], *self.released]:
            room = self.segments.room(piece)
            if room is not None:
                with pytest.raises(ValueError, match="no room"):
                    self.segments.advance(piece, room + excess)

    @precondition(lambda self: self.running)
    @rule(limit=st.none() | st.integers(0, MOST), turn=st.integers(0, 5))
    def extend(self, limit: int | None, turn: int) -> None:
        self.running.rotate(turn)
        piece = self.running[0]
        free, at, end = dict(self.free()), piece.at, piece.end
        on = self.segments.extend(piece, limit)
        if at != end:
            assert on
            assert span(piece) == (at, end)
        elif at in free and (limit is None or limit > at):
            assert on
            assert span(piece) == (at, free[at] if limit is None else min(limit, free[at]))
        else:
            assert not on
            assert span(piece) == (at, at)

    @precondition(lambda self: self.running)
    @rule(turn=st.integers(0, 5))
    def release(self, turn: int) -> None:
        self.running.rotate(turn)
        piece = self.running.popleft()
        self.released.append(piece)
        self.segments.release(piece)
        assert self.segments.room(piece) == 0

    @precondition(lambda self: self.released)
    @rule(turn=st.integers(0, 5))
    def release_again(self, turn: int) -> None:
        piece = self.released[turn % len(self.released)]
        self.segments.release(piece)
        assert not self.segments.extend(piece, None)
        assert self.segments.room(piece) == 0

    @precondition(lambda self: self.segments.received)
    @rule()
    def finish(self) -> None:
        total = self.segments.total
        self.segments.finish()
        if total is None:
            assert self.segments.complete
            assert self.segments.total == self.segments.received
            self.marks = self.marks[: self.segments.total]
            self.released += self.running
            self.running.clear()
        else:
            assert self.segments.total == total

    @invariant()
    def nothing_overlaps_and_nothing_is_lost(self) -> None:
        segments = self.segments
        to_come = [(p.at, len(self.marks) if p.end is None else p.end) for p in self.running]
        pieces = [*segments.done, *(piece for piece in to_come if piece[0] < piece[1])]
        for before, after in pairwise(sorted(pieces)):
            assert before[1] <= after[0]
        if segments.total is not None:
            assert all(start >= 0 and end <= segments.total for start, end in pieces)
            assert covered(pieces) + covered(self.free()) == segments.total

    @invariant()
    def done_is_what_was_written_and_only_grows(self) -> None:
        segments = self.segments
        assert is_normal(segments.done)
        assert len(segments.done) <= self.most_spans
        assert segments.received == covered(segments.done)
        for start, end in segments.done:
            assert self.marks.find(0, start, end) == -1
        for start, end in gaps(segments.done, len(self.marks)):
            assert self.marks.find(1, start, end) == -1
        missing = gaps(segments.done, len(self.marks))
        assert not any(
            start < gap_end and gap_start < end for start, end in self.before for gap_start, gap_end in missing
        )
        self.before = list(segments.done)

    @invariant()
    def what_it_says_of_itself_is_so(self) -> None:
        segments = self.segments
        assert segments.running == len(self.running)
        assert segments.complete is (segments.total is not None and not gaps(segments.done, segments.total))
        assert segments.unclaimed is (bool(self.free()) if segments.total is not None else not self.running)

    def teardown(self) -> None:
        if not hasattr(self, "segments"):
            return
        for piece in self.running:
            self.segments.release(piece)
        while (rest := self.segments.take()) is not None:
            self.running = deque([rest])
            self.advance(MOST, 0)
            self.segments.finish()
            self.segments.release(rest)
        assert self.segments.complete
        assert self.marks.find(0) == -1


Fetching.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_fetching_keeps_its_books = Fetching.TestCase
