"""The level of one host: each rule of `downloader.limits` as rows, and what holds after any sequence of events."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import limits
from downloader.limits import CEILING, FLOW, LARGE, LOOK, PATIENT, PROBE, START, SURE, Limit

if TYPE_CHECKING:
    from collections.abc import Callable

TOOK = 0.02


class Host:
    """A limit that is used to the full, and its clock: a round takes as long as a request."""

    def __init__(self, most: int = CEILING) -> None:
        self.limit = Limit(most)
        self.now = 100.0

    @property
    def level(self) -> int:
        return self.limit.level

    def round(self, took: float = TOOK, *, running: int | None = None, size: int = 1000) -> int:
        """All requests of a level are answered; return the new one."""
        limit = self.limit
        self.now += took
        for _ in range(limit.level):
            limit.answered(self.now, limit.epoch, limit.level if running is None else running, took, size)
        return limit.level

    def until_judged(self, took: float, size: int = 1000) -> int:
        """Rounds like that until the level changes."""
        before = self.level
        for _ in range(SURE):
            if self.round(took, size=size) != before:
                break
        return self.level

    def refuse(self, *, running: int | None = None, pause: float | None = 1.0, again: bool = False) -> bool:
        """A request that began just now is refused, at a full level if not ``running`` are left."""
        limit = self.limit
        left = limit.level - 1 if running is None else running
        return limit.refused(self.now, limit.epoch, left, pause=pause, again=again)

    def grown(self, least: int) -> Host:
        while self.level < least:
            assert self.round() > 0
        return self

    def settled(self) -> Host:
        """At a proven level of 16, after more was refused."""
        self.grown(32)
        self.refuse(running=16)
        assert self.level == 16
        self.round()
        return self


def test_a_host_of_which_nothing_is_known_gets_a_few() -> None:
    assert Host().level == START
    assert Host(3).level == 3


def test_each_round_that_pays_doubles_the_level() -> None:
    host = Host()
    assert [host.round() for _ in range(8)] == [16, 32, 64, CEILING, CEILING, CEILING, CEILING, CEILING]
    assert host.limit.highest == CEILING
    assert not (host.limit._growing and host.level < host.limit._most)


def test_growth_is_slower_once_some_has_failed() -> None:
    host = Host()
    host.round()
    assert host.until_judged(2 * TOOK) == START
    levels = [START]
    while levels[-1] < CEILING:
        if host.round() != levels[-1]:
            levels.append(host.level)
    assert levels == [8, 12, 18, 27, 40, 60, 90, CEILING]


@pytest.mark.parametrize("most", [1, 3, START, 13, CEILING])
def test_the_most_is_never_exceeded(most: int) -> None:
    host = Host(most)
    assert max(host.round() for _ in range(20)) == most


def test_a_round_of_fewer_than_the_level_allows_teaches_nothing() -> None:
    host = Host()
    assert [host.round(running=START - 1) for _ in range(20)] == [START] * 20
    assert host.limit.highest == 0


@pytest.mark.parametrize(
    ("slower", "expected"),
    [
        (1.0, "grows"),
        (1.4, "grows"),
        (1.5, "grows"),  # throughput rises by a third where the level doubles
        (1.6, "falls back"),
        (2.0, "falls back"),
        (5.0, "falls back"),
    ],
)
def test_growth_that_does_not_pay_is_taken_back(slower: float, expected: str) -> None:
    host = Host()
    assert host.round() == 16
    assert host.until_judged(TOOK * slower) == (32 if expected == "grows" else START)
    assert host.limit.falls == 0
    assert host.limit.why == ("it keeps up" if expected == "grows" else "more gained nothing")


def test_it_takes_enough_requests_to_say_that_growth_has_not_paid() -> None:
    host = Host()
    host.round()
    for _ in range(SURE // 16 - 1):
        assert host.round(2 * TOOK) == 16
    assert host.round(2 * TOOK) == START


def test_what_did_not_pay_is_tried_again_later_and_later() -> None:
    host = Host()
    host.round()
    host.until_judged(2 * TOOK)
    waits = []
    for _ in range(5):
        since = host.now
        while host.level == START:
            host.round()
        waits.append(host.now - since)
        host.until_judged(2 * TOOK)
        assert host.level == START
    for number, wait in enumerate(waits):
        assert wait == pytest.approx(LOOK * 2**number, abs=3 * TOOK)


def test_large_bodies_are_measured_by_their_bytes() -> None:
    host = Host()
    host.round(1.0, size=LARGE)
    assert host.until_judged(1.0, size=2 * LARGE) == 32
    assert host.until_judged(3.0, size=2 * LARGE) == 16


# Refusals.


@pytest.mark.parametrize(
    ("running", "expected"),
    [(0, 16), (5, 16), (15, 16), (16, 16), (20, 20), (31, 31)],
)
def test_a_refusal_above_what_was_proven_falls_back_to_that_or_to_what_is_answered(running: int, expected: int) -> None:
    host = Host().grown(32)
    assert host.refuse(running=running)
    assert host.level == expected
    assert host.limit.falls == 1
    assert not host.limit._growing


@pytest.mark.parametrize(("running", "expected"), [(7, 7), (5, 5), (4, 4), (3, 4), (0, 4)])
def test_a_refusal_where_nothing_was_proven_yet_leaves_half_at_least(running: int, expected: int) -> None:
    host = Host()
    assert host.refuse(running=running)
    assert host.level == expected


def test_refusals_of_requests_that_were_under_way_are_one_signal() -> None:
    host = Host().grown(32)
    epoch = host.limit.epoch
    for left in range(31, 0, -1):
        assert host.limit.refused(host.now, epoch, left, pause=1.0)
    assert host.level == 16
    assert host.limit.falls == 1


@pytest.mark.parametrize(("running", "expected"), [(15, 15), (10, 10), (8, 8), (3, 8), (0, 8)])
def test_a_refusal_of_a_proven_level_leaves_what_is_still_answered_and_half_at_least(
    running: int, expected: int
) -> None:
    host = Host().settled()
    assert host.refuse(running=running)
    assert host.level == expected


def test_a_level_falls_to_one_but_not_to_none() -> None:
    host = Host().settled()
    assert [host.level for _ in range(5) if host.refuse(running=0)] == [8, 4, 2, 1, 1]


def test_one_refusal_without_a_pause_may_be_the_files_own() -> None:
    host = Host().settled()
    assert not host.refuse(pause=None)
    assert host.level == 16
    host.round()
    assert not host.refuse(pause=None)
    assert host.level == 16
    assert host.refuse(pause=None)
    assert host.level == 15


def test_files_that_are_refused_whenever_they_are_asked_for_lower_nothing() -> None:
    host = Host().settled()
    for number in range(200):
        host.round()
        host.refuse(pause=None, again=number > 2)
        host.refuse(pause=None, again=number > 2)
    assert host.level > 16
    falls = host.limit.falls
    for _ in range(50):
        host.round()
        assert not host.refuse(pause=None, again=True)
        assert not host.refuse(pause=1.0)
    assert host.limit.falls == falls


def test_a_host_that_refuses_most_is_to_blame_whoever_asks() -> None:
    host = Host().settled()
    for _ in range(60):
        host.refuse(pause=None, again=True)
    assert host.level == 1


@pytest.mark.parametrize("pause", [None, 0.0, 0.5, 1.0, 5.0, 60.0])
def test_more_is_tried_again_in_time_but_not_too_soon_after_a_pause(pause: float | None) -> None:
    host = Host().grown(32)
    host.refuse(running=16, pause=pause)
    since = host.now
    while host.level == 16:
        host.round()
    waited = host.now - since - (pause or 0.0)
    assert waited == pytest.approx(max(PROBE, PATIENT * (pause or 0.0)), abs=3 * TOOK)
    assert host.level == 20
    assert host.limit.why == "trying more"


def test_what_is_refused_is_tried_ever_more_rarely() -> None:
    host = Host().settled()
    waits: list[float] = []
    for _ in range(30):
        since = host.now
        while host.level == 16:
            host.round(0.5)
        waits.append(host.now - since)
        host.refuse(running=16, pause=None)
        assert host.level == 16
    assert all(later > before - 1 for before, later in pairwise(waits))
    assert waits[-1] == pytest.approx(limits.RAREST, abs=2)


def test_a_level_is_given_back_where_it_was_not_the_reason() -> None:
    host = Host().settled()
    host.refuse(running=0, pause=0.0)
    host.refuse(running=0, pause=0.0)
    host.limit.restore(16, 1)
    assert (host.level, host.limit.falls) == (16, 1)
    host.limit.restore(3, 0)
    assert (host.level, host.limit.falls) == (16, 0)


# Transfers that take long.


def flow(limit: Limit, seconds: float, rate: Callable[[int], float], begin: float = 100.0) -> list[int]:
    """Let bytes flow at the ``rate`` of each level; return the levels."""
    levels, received, now = [limit.level], 0.0, begin
    while now < begin + seconds:
        now += FLOW
        received += FLOW * rate(limit.level)
        limit.flowed(now, int(received), limit.level)
        if limit.level != levels[-1]:
            levels.append(limit.level)
    return levels


def test_bytes_tell_nothing_while_many_requests_have_brought_none() -> None:
    limit = Limit()
    for look in range(20):
        limit.flowed(100 + look * FLOW, 1000 * look, 5)
    assert limit.level == START
    for look in range(20, 23):
        limit.flowed(100 + look * FLOW, 1000 * look, 6)
    assert limit.level > START


def test_waits_do_not_grow_where_nothing_was_ever_stood() -> None:
    host = Host()
    for _ in range(50):
        host.refuse(running=0)
    assert host.level == 1
    host.now += 10
    for _ in range(60):
        host.round()
    assert host.level > 1


def test_long_transfers_grow_by_their_bytes_while_these_grow() -> None:
    assert flow(Limit(), 30, lambda level: 1e6 * level) == [8, 16, 32, 64, CEILING]


def test_long_transfers_that_share_a_full_link_grow_no_further() -> None:
    limit = Limit()
    assert set(flow(limit, 300, lambda _: 1e7)) == {8, 12, 16}
    limit = Limit()
    assert max(flow(limit, 300, lambda level: min(3e7, 1e6 * level))) <= 64


def test_a_stalled_host_teaches_nothing_by_its_bytes() -> None:
    assert flow(Limit(), 60, lambda _: 0.0) == [8]


# Whatever happens.


@given(
    most=st.integers(1, 200),
    events=st.lists(
        st.tuples(
            st.sampled_from("aaarRuf"),
            st.floats(0, 10),
            st.integers(0, 5),
            st.integers(0, 200),
            st.none() | st.floats(0, 100),
            st.booleans(),
        ),
        max_size=200,
    ),
)
def test_the_level_stays_within_its_bounds_whatever_happens(
    most: int, events: list[tuple[str, float, int, int, float | None, bool]]
) -> None:
    limit, now, received = Limit(most), 0.0, 0
    for kind, seconds, old, running, number, again in events:
        now += seconds
        epoch = max(0, limit.epoch - old)
        before, epoch_before = limit.level, limit.epoch
        if kind == "a":
            for _ in range(min(limit.level, 60)):
                limit.answered(now, epoch, running, number, running * 1000, again=again)
        elif kind == "f":
            received += running * 100_000
            limit.flowed(now, received, running)
        else:
            counts = limit.refused(now, epoch, running, pause=number if kind == "R" else None, again=again)
            assert limit.level <= before, "refused, and more is asked"
            assert counts or limit.level == before
        assert 1 <= limit.level <= most
        assert limit.highest <= most
        assert limit.epoch >= epoch_before
        assert (limit.level == before) or limit.epoch > epoch_before
