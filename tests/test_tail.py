"""Who gets the slots that nobody else can use at a list's end: by tables, by properties and by a simulated file."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import tail
from downloader.segments import MIN_PIECE, Piece, Segments, worth
from downloader.tail import KNOWN_HOSTS, LEAST_LEFT, LOOKS, Meter, Tail, share

MIB = 1024 * 1024


@dataclass(eq=False)
class Slots:
    """Slots to spare, and how many helpers there were at most."""

    free: int


@dataclass(eq=False)
class Plain:
    """A file as plain data."""

    left: int
    slots: Slots = field(default_factory=lambda: Slots(100))
    host: str = "a"
    received: int = 0
    transfers: int = 1
    most: int = 100

    def help(self) -> bool:
        if self.transfers >= self.most or not self.slots.free:
            return False
        self.slots.free -= 1
        self.transfers += 1
        return True

    def do_without_help(self) -> None:
        self.most = self.transfers = 1


@given(
    sizes=st.lists(st.integers(0, 400 * MIB), max_size=8),
    most=st.lists(st.integers(1, 9), min_size=8, max_size=8),
    free=st.integers(0, 30),
)
def test_idle_slots_go_to_those_with_the_most_left_for_each_transfer(
    sizes: list[int], most: list[int], free: int
) -> None:
    slots = Slots(free)
    files = [Plain(size, slots, most=bound) for size, bound in zip(sizes, most, strict=False)]
    share(files)
    assert sum(file.transfers - 1 for file in files) == free - slots.free
    assert [file.transfers for file in files if file.left < LEAST_LEFT] == [
        1 for file in files if file.left < LEAST_LEFT
    ]
    takers = [file for file in files if file.left >= LEAST_LEFT]
    assert not slots.free or all(file.transfers == file.most for file in takers)
    for helped in takers:
        for other in takers:
            if helped.transfers > 1 and other.transfers < other.most:
                # What it had before its last helper was no less than what the other has now.
                assert helped.left / (helped.transfers - 1) >= other.left / other.transfers


def looks(meter: Meter, rates: list[tuple[int, int]], *, now: float = 0.0, received: int = 0) -> list[bool | None]:
    """What `Meter.look` says twice a second, at so many bytes a second and transfers each time."""
    said = []
    for rate, transfers in rates:
        said.append(meter.look(now, received, transfers))
        now += 0.5
        received += rate // 2
    return said


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ([(MIB, 1)] * 20, None),
        ([(MIB, 1)] * 4 + [(4 * MIB, 4)] * 9, True),
        ([(MIB, 1)] * 4 + [(MIB, 4)] * 9, False),
        ([(MIB, 1)] * 4 + [(int(1.19 * MIB), 4)] * 9, False),
        ([(MIB, 1)] * 4 + [(int(1.21 * MIB), 4)] * 9, True),
        ([(MIB, 1)] * 4 + [(MIB, 4)] * 3 + [(2 * MIB, 4)] * 9, True),  # they begin slowly
        ([(MIB, 1)] * 4 + [(MIB, 4)] * 2, None),
        ([(MIB, 1)] * 4 + ([(MIB, 4)] * 2 + [(MIB, 1)]) * 9, None),  # no helper stays
        ([(1000, 1)] * 4 + [(1000, 4)] * 50, None),  # too little to tell
        ([(MIB, 1)] * 4 + [(0, 4)] * 50, None),
    ],
)
def test_help_is_worth_it_where_a_file_gets_a_fifth_faster(rates: list[tuple[int, int]], verdict: bool | None) -> None:
    said = [each for each in looks(Meter(), rates) if each is not None]
    assert (said[0] if said else None) is verdict


def test_a_rate_that_is_new_counts_and_a_try_that_begins_again_is_measured_again() -> None:
    meter = Meter()
    looks(meter, [(4 * MIB, 1)] * 4 + [(MIB, 1)] * 5)
    assert meter.alone == pytest.approx(MIB, rel=0.01)
    assert looks(meter, [(0, 1)], now=9.0, received=0) == [None]
    assert looks(meter, [(2 * MIB, 1)] * 4, now=9.5) == [None] * 4
    assert meter.alone == pytest.approx(2 * MIB, rel=0.01)


@given(steps=st.lists(st.tuples(st.integers(0, 50 * MIB), st.integers(1, 20), st.floats(0, 5)), max_size=60))
def test_no_verdict_without_a_measure_of_both(steps: list[tuple[int, int, float]]) -> None:
    meter, now, received, helped = Meter(), 0.0, 0, 0
    for size, transfers, later in steps:
        now += later
        received += size
        verdict = meter.look(now, received, transfers)
        helped = helped + 1 if transfers > 1 else 0
        if verdict is not None:
            assert helped >= (2 if verdict else 1 + LOOKS)


class World:
    """Files whose rates are a function of their transfers, and the looks and offers of a run."""

    def __init__(self, *files: Plain, limited: int | None) -> None:
        """``limited``: bytes a second of each transfer; None where all of a file has 8 MiB/s."""
        self.tail = Tail()
        self.files = files
        self.now = 0.0
        self.limited = limited
        self.given_up: list[str] = []
        for file in files:
            self.tail.add(file)

    def run(self, seconds: float) -> None:
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            for file in self.files:
                rate = 8 * MIB if self.limited is None else self.limited * file.transfers
                file.received += rate // 2
                file.left -= rate // 2
            self.given_up += self.tail.look(self.now)
            self.tail.offer()


def test_nobody_is_helped_before_the_list_has_come_to_its_end() -> None:
    world = World(Plain(1000 * MIB), limited=4 * MIB)
    world.run(10)
    assert world.files[0].transfers == 1
    world.tail.begun = True
    world.tail.offer()
    assert world.files[0].transfers == 100


def test_where_help_is_worth_it_later_files_have_it_at_once() -> None:
    world = World(Plain(1000 * MIB, Slots(7)), limited=4 * MIB)
    world.tail.begun = True
    world.run(5)
    assert (world.files[0].transfers, world.given_up) == (8, [])
    later = Plain(100 * MIB)
    world.tail.add(later)
    world.tail.offer()
    assert later.transfers > 1
    other = Plain(100 * MIB, host="b")
    world.tail.add(other)
    world.tail.offer()
    assert other.transfers == 1


def test_where_it_is_not_no_file_of_that_host_is_helped_again() -> None:
    world = World(Plain(1000 * MIB, Slots(7)), Plain(900 * MIB, Slots(0)), limited=None)
    world.tail.begun = True
    world.run(10)
    assert world.given_up == ["a"]
    assert [file.most for file in world.files] == [1, 1]
    later, other = Plain(1000 * MIB), Plain(1000 * MIB, host="b")
    world.files = (later, other)
    for file in world.files:
        world.tail.add(file)
    world.run(2)
    assert (later.transfers, other.transfers) == (1, 100)


def test_a_file_that_has_ended_is_offered_nothing() -> None:
    file = Plain(1000 * MIB)
    world = World(file, limited=MIB)
    world.run(3)
    world.tail.remove(file)
    world.tail.remove(file)
    world.tail.begun = True
    world.tail.offer()
    assert file.transfers == 1


def test_no_more_hosts_are_remembered_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "KNOWN_HOSTS", 3)
    assert KNOWN_HOSTS > 3
    found = Tail()
    for number in range(10):
        file = Plain(1000 * MIB, host=str(number))
        found.add(file)
        for second in range(20):
            file.transfers = 1 if second < 6 else 9
            file.received += MIB
            found.look(float(second))
        found.remove(file)
    assert list(found._worth) == ["7", "8", "9"]


@given(
    writers=st.integers(2, 64),
    rate=st.integers(50_000, 20_000_000),
    waited=st.floats(0.0005, 0.3),
    total=st.integers(16 * MIB, 200 * MIB),
)
def test_the_last_range_of_a_split_file_does_not_run_alone_for_long(
    writers: int, rate: int, waited: float, total: int
) -> None:
    """Each transfer takes its time for an answer, then has the same rate; what it does without is given to others."""
    segments = Segments(total)
    segments.most, known = 2 * MIN_PIECE, float(2 * MIN_PIECE)
    first = segments.take()
    assert first is not None
    step = 0.05 * MIN_PIECE / rate + waited / 4
    busy: dict[int, tuple[Piece, float]] = {0: (first, 0.0)}
    now = idle = 0.0
    least = 0
    while not segments.complete:
        for writer in range(writers):
            if writer not in busy and (piece := segments.take()) is not None:
                busy[writer] = piece, now + waited
        if not idle and len(busy) < writers:
            idle, least = now, segments.least  # there is no work for all of them any more
        now += step
        for writer, (piece, begins) in list(busy.items()):
            if now > begins:
                room = segments.room(piece)
                assert room is not None
                segments.advance(piece, min(room, int(rate * min(step, now - begins))))
                if piece.at == piece.end:
                    segments.release(piece)
                    del busy[writer]
                    known = worth(known, waited, (piece.at - piece.start) / rate, piece.at - piece.start)
                    segments.fit(known)
    # Who has less left than two pieces of the least size is not helped any more.
    assert not idle or now - idle <= 2 * least / rate + 3 * (waited + step)
