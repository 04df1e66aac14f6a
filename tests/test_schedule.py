"""The scheduler never starts too much or too early, loses nothing, starves nobody and forgets whom it need not know."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from downloader.health import GRACE
from downloader.hosts import LITTLE, LONG_REFUSED, MOST_REFUSALS, MOST_STALLS, Host, Ticket
from downloader.limits import START
from downloader.schedule import CLOSED_HOSTS, KNOWN_HOSTS, Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterable

HOSTS = ("a", "b", "c")


def filled(jobs: int, per_host: int | None, items: Iterable[tuple[int, str]]) -> Scheduler:
    scheduler = Scheduler(jobs=jobs, per_host=per_host)
    for item, host in items:
        scheduler.add(item, host)
    return scheduler


def waiting(scheduler: Scheduler) -> tuple[int, int]:
    """How many items are queued, and how many wait for the time of their next try."""
    return sum(len(host.queue) + len(host.begun) for host in scheduler.hosts()), len(scheduler._delayed)


@pytest.mark.parametrize(
    ("jobs", "per_host", "hosts", "expected"),
    [
        (4, None, "", []),
        (4, None, "a", [0]),
        (1, None, "aab", [0]),
        (2, None, "aab", [0, 2]),
        (3, None, "aabb", [0, 2, 1]),
        (9, 1, "aaabbb", [0, 3]),
        (9, 2, "aaabbb", [0, 3, 1, 4]),
        (4, 9, "aaaaaa", [0, 1, 2, 3]),
        (3, 2, "aaab", [0, 3, 1]),
    ],
)
def test_hosts_take_turns_within_both_limits(jobs: int, per_host: int | None, hosts: str, expected: list[int]) -> None:
    scheduler = filled(jobs, per_host, enumerate(hosts))
    assert scheduler.start(0.0) == expected
    assert scheduler.running == len(expected)
    assert waiting(scheduler) == (len(hosts) - len(expected), 0)


def test_nothing_starts_twice() -> None:
    scheduler = filled(4, None, [(1, "a"), (2, "a")])
    assert scheduler.start(0.0) == [1, 2]
    assert scheduler.start(0.0) == []


def test_a_finished_item_makes_room_for_the_next_of_its_host() -> None:
    scheduler = filled(9, 1, [(1, "a"), (2, "a")])
    assert scheduler.start(0.0) == [1]
    scheduler.finish(1)
    assert scheduler.start(0.0) == [2]


def test_finishing_what_does_not_run_is_an_error() -> None:
    scheduler = filled(1, None, [(1, "a"), (2, "a")])
    scheduler.start(0.0)
    for item in (2, 3):
        with pytest.raises(KeyError):
            scheduler.finish(item)


def test_a_delayed_item_holds_no_slot_and_goes_first_when_its_time_has_come() -> None:
    scheduler = Scheduler(jobs=1)
    scheduler.add_again(1, "a", not_before=10.0)
    scheduler.add(2, "a")
    scheduler.add(3, "a")
    assert waiting(scheduler) == (2, 1)
    assert scheduler.next_time() == 10.0
    assert scheduler.start(9.99) == [2]
    scheduler.finish(2)
    assert scheduler.start(10.0) == [1]
    assert waiting(scheduler) == (1, 0)
    assert scheduler.next_time() is None
    scheduler.finish(1)
    assert scheduler.start(10.0) == [3]


def test_a_held_host_is_left_alone_while_others_go_on() -> None:
    scheduler = filled(9, None, [(1, "a"), (2, "b"), (3, "a")])
    scheduler.hold("a", 5.0)
    assert scheduler.start(0.0) == [2]
    assert scheduler.next_time() == 5.0
    assert scheduler.start(4.9) == []
    assert scheduler.start(5.0) == [1, 3]


def test_an_item_added_to_a_held_host_waits_too() -> None:
    scheduler = Scheduler(jobs=9)
    scheduler.hold("a", 5.0)
    scheduler.add(1, "a")
    scheduler.add_again(2, "a", not_before=3.0)
    assert scheduler.start(4.0) == []
    assert sorted(scheduler.start(5.0)) == [1, 2]


@pytest.mark.parametrize("times", [(5.0, 9.0), (9.0, 5.0)])
def test_of_two_holds_the_later_counts(times: tuple[float, float]) -> None:
    scheduler = filled(9, None, [(1, "a")])
    for until in times:
        scheduler.hold("a", until)
    assert scheduler.start(5.0) == []
    assert scheduler.next_time() == 9.0
    assert scheduler.start(9.0) == [1]


def test_a_finished_item_does_not_end_the_hold_of_its_host() -> None:
    scheduler = filled(1, None, [(1, "a"), (2, "a")])
    scheduler.start(0.0)
    scheduler.hold("a", 5.0)
    scheduler.finish(1)
    assert scheduler.start(1.0) == []
    assert scheduler.start(5.0) == [2]


def test_draining_gives_back_all_that_holds_no_slot() -> None:
    scheduler = filled(1, None, [(1, "a"), (2, "a"), (3, "b")])
    scheduler.add_again(4, "c", not_before=9.0)
    assert scheduler.start(0.0) == [1]
    assert sorted(scheduler.drain()) == [2, 3, 4]
    assert (*waiting(scheduler), scheduler.running) == (0, 0, 1)
    scheduler.finish(1)
    assert scheduler.start(99.0) == []


def test_a_host_with_little_is_not_kept_waiting_by_a_host_with_much() -> None:
    scheduler = filled(2, None, [*((item, "a") for item in range(1000)), (1000, "b"), (1001, "b")])
    order: list[int] = []
    while started := scheduler.start(0.0):
        order += started
        for item in started:
            scheduler.finish(item)
    assert len(order) == 1002
    assert order.index(1000) <= 3
    assert order.index(1001) <= 5


def test_a_million_hosts_cost_no_memory_once_they_are_done() -> None:
    scheduler = Scheduler(jobs=8)
    for item in range(200_000):
        scheduler.add(item, f"host-{item}")
        for started in scheduler.start(0.0):
            if item % 3 == 0:  # then there is something to be remembered
                scheduler.refused(scheduler.ticket(started), 0.0, None)
            scheduler.finish(started)
    assert not scheduler._hosts
    assert not scheduler._ring
    assert not scheduler._again
    assert len(scheduler._known) == KNOWN_HOSTS


# What became of requests


def under_way(items: str, *, jobs: int = 9, per_host: int | None = None) -> Scheduler:
    """A scheduler whose items, each with its host's letter, were added; those that may have started."""
    scheduler = filled(jobs, per_host, enumerate(items))
    scheduler.start(0.0)
    return scheduler


def answer(scheduler: Scheduler, item: int, now: float) -> None:
    scheduler.ticket(item).host.heard()
    scheduler.answered(scheduler.ticket(item), now, 0.1, 1000)
    scheduler.finish(item)


def unreached(scheduler: Scheduler, item: int, now: float, *, silent: bool = False) -> bool:
    down = scheduler.unreachable(scheduler.ticket(item), now, silent=silent)
    scheduler.finish(item)
    return down


def test_a_level_that_rises_lets_more_start_and_one_that_falls_fewer() -> None:
    scheduler = under_way("a" * 60, jobs=99)
    assert scheduler.running == START
    host = scheduler.ticket(0).host
    for item in range(START):
        answer(scheduler, item, 1.0)
        scheduler.start(1.0)
    assert scheduler.running == host.limit.level == 16
    assert scheduler.refused(scheduler.ticket(START), 1.0, 1.0)
    assert host.limit.level == 15
    scheduler.finish(START)
    assert scheduler.start(1.0) == []
    answer(scheduler, START + 1, 1.0)
    assert len(scheduler.start(1.0)) == 1


def test_what_a_host_can_stand_is_remembered_when_nothing_is_asked_of_it() -> None:
    scheduler = under_way("a")
    host = scheduler.ticket(0).host
    scheduler.refused(scheduler.ticket(0), 0.0, 1.0)
    level = host.limit.level
    assert level < START
    scheduler.finish(0)
    assert not scheduler._hosts
    for item in range(1, 20):
        scheduler.add(item, "a")
    assert len(scheduler.start(2.0)) == level
    assert scheduler.ticket(1).host is host


def test_a_host_of_which_an_item_waits_for_its_next_try_is_not_forgotten() -> None:
    scheduler = under_way("a")
    host = scheduler.ticket(0).host
    host.heard()
    scheduler.finish(0)
    assert not scheduler._hosts
    scheduler = under_way("a")
    host = scheduler.ticket(0).host
    host.heard()
    scheduler.finish(0)
    scheduler.add_again(0, "a", not_before=5.0)
    assert scheduler.busy("a")
    assert not scheduler.busy("b")
    scheduler.start(5.0)
    assert scheduler.ticket(0).host is scheduler._hosts["a"]


def test_those_that_have_begun_go_first_and_in_turn() -> None:
    scheduler = Scheduler(jobs=2, per_host=2)
    for item in (3, 4):
        scheduler.add(item, "b")
    assert scheduler.start(0.0) == [3, 4]
    for item in (1, 2):
        scheduler.add(item, "a")
    scheduler.hold("a", 5.0)
    for item in (3, 4):
        scheduler.move(item, "a")
    order = scheduler.start(5.0)
    for item in order:
        scheduler.finish(item)
    order += scheduler.start(5.0)
    for item in order[2:]:
        scheduler.finish(item)
    assert order == [3, 4, 1, 2]
    assert not scheduler._again, "to be redirected is no second try"
    assert not scheduler._away
    assert not scheduler._hosts


def test_a_host_starts_no_more_than_those_that_it_redirects_to_take() -> None:
    scheduler = Scheduler(jobs=99)
    for item in range(100):
        scheduler.add(item, "a")
    for item in range(100, 100 + START):
        scheduler.add(item, "b")
    started = scheduler.start(0.0)[::2]
    assert started == list(range(START))
    for item in started:
        scheduler.move(item, "b")
        assert scheduler.start(1.0) == []
    scheduler.hold("b", 50.0)
    assert len(scheduler.start(2.0)) == START, "nobody waits for a host that is left alone"
    for item in range(100, 100 + START):
        scheduler.finish(item)
    assert scheduler.start(50.0) == started
    assert not scheduler._away


def test_hosts_that_redirect_to_each_other_do_not_wait_for_each_other() -> None:
    scheduler = Scheduler(jobs=99, per_host=1)
    for item, host in ((1, "a"), (2, "b"), (3, "a"), (4, "b")):
        scheduler.add(item, host)
    assert scheduler.start(0.0) == [1, 2]
    scheduler.move(1, "b")
    assert scheduler.start(0.0) == []
    scheduler.move(2, "a")
    assert sorted(scheduler.start(0.0)) == [1, 2]
    for item in (1, 2):
        scheduler.finish(item)
    assert sorted(scheduler.start(0.0)) == [3, 4]


def test_a_host_that_refuses_a_single_request_is_left_alone_ever_longer_until_it_answers() -> None:
    scheduler = filled(1, None, [(number, "a") for number in range(20)])
    now, waits = 0.0, []
    for item in range(8):
        assert scheduler.start(now) == [item]
        scheduler.ticket(item).host.heard()
        if item == 5:
            scheduler.answered(scheduler.ticket(item), now, 0.1, 1000)
        else:
            # The second time counts, as one refusal that asks for no pause may be the file's.
            assert [scheduler.refused(scheduler.ticket(item), now, None) for _ in range(2)][1]
        scheduler.finish(item)
        due = scheduler.next_time()
        waits.append(0.0 if due is None else due - now)
        now += waits[-1]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 0.0, 0.5, 1.0]


def test_a_host_that_counts_requests_is_down_after_refusing_for_long_and_another_refusal_is_no_answer() -> None:
    scheduler = filled(1, None, [(number, "a") for number in range(40)])
    now = 0.0
    for item in range(MOST_REFUSALS):
        assert scheduler.start(now) == [item]
        ticket = scheduler.ticket(item)
        assert not ticket.host.heard()
        for _ in range(2):
            scheduler.refused(ticket, now, None, by_rate=True)
        scheduler.finish(item)
        now = scheduler.next_time() or now
    health = ticket.host.health
    assert health.probe_at is not None
    assert health.gave_up_after == MOST_REFUSALS
    assert not ticket.host.heard()
    assert health.probe_at is not None
    scheduler.start(now)
    scheduler.answered(scheduler.ticket(MOST_REFUSALS), now, 0.1, 1000)
    assert ticket.host.heard()
    assert health.probe_at is None


@pytest.mark.parametrize(("pause", "times"), [(2.0, 31), (5.0, 13), (30.0, MOST_REFUSALS)])
def test_a_host_that_says_for_how_long_but_never_answers_is_down_after_a_while_too(pause: float, times: int) -> None:
    scheduler = filled(1, None, [(number, "a") for number in range(40)])
    now = 0.0
    for item in range(40):
        assert scheduler.start(now) == [item]
        ticket = scheduler.ticket(item)
        for _ in range(2):
            scheduler.refused(ticket, now, pause, by_rate=True)
            scheduler.hold("a", now + pause)
        if ticket.host.health.probe_at is not None:
            break
        scheduler.finish(item)
        now = scheduler.next_time() or now
    assert ticket.host.health.gave_up_after == times
    assert now >= LONG_REFUSED


def test_a_host_that_goes_silent_in_all_it_sends_is_down_until_something_comes_whole() -> None:
    scheduler = filled(1, None, [(number, "a") for number in range(90)])

    def next_one() -> Ticket:
        (item,) = scheduler.start(1.0)
        return scheduler.ticket(item)

    def ends(ticket: Ticket, took: float | None, size: int) -> None:
        scheduler.answered(ticket, 1.0, took, size)
        ticket.host.heard()
        scheduler.finish(next(iter(scheduler._running)))

    def stalls(times: int, now: float, size: int) -> list[bool]:
        told = []
        for _ in range(times):
            ticket = next_one()
            told.append(ticket.host.stalled(now, size))
            ends(ticket, None, 0)
        return told

    host = scheduler._hosts["a"]
    assert not any(stalls(MOST_STALLS, 1.0, LITTLE))
    assert stalls(MOST_STALLS, 1.0, LITTLE - 1) == [False] * (MOST_STALLS - 1) + [True]
    assert host.health.gave_up_after == MOST_STALLS
    assert not host.health.well, "heads are no news"
    ends(next_one(), 0.1, 1000)
    assert host.health.probe_at is None
    assert not any(stalls(2 * MOST_STALLS, 2.0, 0)), "what was under way at once"
    assert not any(stalls(1, 1.9 + GRACE, 0))
    assert all(stalls(1, 2.0 + GRACE, 0))


def test_what_waits_for_a_host_that_is_down_is_told_at_once() -> None:
    scheduler = under_way("a" * 9, jobs=8)
    for item in range(8):
        unreached(scheduler, item, 0.1)
    for now in (0.7, 1.8):
        scheduler.hold("a", now)
        started = scheduler.start(now)
        assert len(started) == 1
        unreached(scheduler, started[0], now)
        scheduler.add(started[0] + 100, "a")
    assert scheduler.start(1.8), "not after another wait"


@pytest.mark.parametrize("hosts", [3, CLOSED_HOSTS + 1])
def test_of_very_many_closed_hosts_the_last_are_remembered(hosts: int) -> None:
    scheduler = Scheduler(jobs=1)
    for number in range(hosts):
        scheduler.hold(f"h{number}", 1000.0, most=10.0)
    closed = [scheduler.closed_for(Host(f"h{number}", 1), 0.0) > 0 for number in range(hosts)]
    assert closed == [hosts <= CLOSED_HOSTS, *[True] * (hosts - 1)]


def test_a_ticket_tells_whether_its_item_was_tried_before() -> None:
    scheduler = under_way("a")
    assert scheduler.ticket(0)[1:] == (0, 0.0, False)
    scheduler.finish(0)
    scheduler.add_again(0, "b", not_before=1.0)
    scheduler.add(1, "b")
    assert scheduler.start(1.0) == [0, 1]
    assert scheduler.ticket(0).again
    assert not scheduler.ticket(1).again
    assert not scheduler._again


def test_a_host_that_lets_nobody_in_is_left_alone_and_then_counts_as_down() -> None:
    scheduler = under_way("aaaa", per_host=1)
    now = 0.0
    for item, wait in ((0, 0.5), (1, 1.0)):
        assert not unreached(scheduler, item, now)
        assert scheduler.start(now + wait - 0.01) == []
        now += wait
        assert scheduler.start(now) == [item + 1]
    assert unreached(scheduler, 2, now)
    assert scheduler.start(now) == [3], "to be told at once that it is in vain"
    health = scheduler.ticket(3).host.health
    assert health.tries == 3
    assert not health.well
    may_ask = [health.may_ask(now + seconds) for seconds in (0, 29, 31, 31)]
    assert may_ask == [False, False, True, False], "one may ask now and then"


def test_a_host_that_is_away_for_a_while_may_be_asked_for_as_much_as_before() -> None:
    scheduler = under_way("a" * START)
    host = scheduler.ticket(0).host
    for item in range(START):
        unreached(scheduler, item, 0.1)
    assert (host.limit.level, host.limit.falls) == (START, 0)


def test_a_host_that_lets_only_some_in_has_a_limit_and_is_not_down() -> None:
    scheduler = under_way("a" * START)
    host = scheduler.ticket(0).host
    for item in range(3, START):
        unreached(scheduler, item, 0.1)
    assert 3 <= host.limit.level < START
    assert host.limit.falls == 1
    for number in range(20):
        now = 100.0 * (number + 1)
        scheduler.add(100 + number, "a")
        for item in scheduler.start(now):
            assert not unreached(scheduler, item, now), "others are in there"
    assert scheduler.running == 3


def test_bytes_that_arrive_show_that_a_host_is_there() -> None:
    scheduler = under_way("aaa")
    host = scheduler.ticket(0).host
    unreached(scheduler, 0, 0.1, silent=True)
    assert host.health.tries == 1
    assert scheduler.flowed(0.5, {host: (1000, 0)}) == [host]
    assert not host.heard()
    assert host.health.tries == 0
    unreached(scheduler, 1, 0.6, silent=True)
    assert scheduler.flowed(1.0, {host: (1000, 0)}) == [], "nothing new"


def test_the_slots_of_a_host_that_is_down_are_not_lent() -> None:
    scheduler = under_way("aaa")
    assert scheduler.borrow("a", 0.0)
    for item in (0, 1):
        unreached(scheduler, item, 30.0, silent=True)
    assert not scheduler.borrow("a", 30.0)


# Borrowed slots


def running(jobs: int, per_host: int | None, hosts: str) -> Scheduler:
    """A scheduler whose items all run, numbered from 0."""
    scheduler = filled(jobs, per_host, enumerate(hosts))
    assert len(scheduler.start(0.0)) == len(hosts)
    return scheduler


def borrowed(scheduler: Scheduler, host: str, most: int = 99) -> int:
    """How many slots ``host`` gets when it asks for so many."""
    return sum(scheduler.borrow(host, 0.0) for _ in range(most))


@pytest.mark.parametrize(
    ("jobs", "per_host", "hosts", "expected"),
    [
        (1, None, "a", 0),
        (4, None, "a", 3),
        (4, None, "ab", 2),
        (4, None, "aabb", 0),
        (9, 1, "a", 0),
        (9, 3, "a", 2),
        (9, 3, "aa", 1),
        (9, 3, "abb", 2),
        (3, 3, "abb", 0),
    ],
)
def test_slots_to_spare_are_lent_within_both_limits(jobs: int, per_host: int | None, hosts: str, expected: int) -> None:
    assert borrowed(running(jobs, per_host, hosts), "a") == expected


def test_a_host_without_a_running_item_gets_nothing() -> None:
    scheduler = Scheduler(jobs=4)
    assert not scheduler.borrow("a", 0.0)
    scheduler = running(4, None, "b")
    assert not scheduler.borrow("a", 0.0)
    assert set(scheduler._hosts) == {"b"}


def test_nothing_is_lent_that_a_queued_item_could_take() -> None:
    scheduler = running(4, None, "a")
    scheduler.add(9, "b")
    assert not scheduler.borrow("a", 0.0)
    assert scheduler.start(0.0) == [9]
    assert borrowed(scheduler, "a") == 2


def test_what_waits_for_its_own_hosts_limit_keeps_nobody_from_borrowing() -> None:
    scheduler = filled(4, 1, [(1, "a"), (2, "a"), (3, "b")])
    assert scheduler.start(0.0) == [1, 3]
    assert borrowed(scheduler, "b") == 0, "it is at its own limit"
    scheduler = filled(4, 2, [(1, "a"), (2, "a"), (3, "a"), (4, "b")])
    assert scheduler.start(0.0) == [1, 4, 2]
    assert borrowed(scheduler, "b") == 1


def test_a_host_that_is_to_be_left_alone_gets_nothing_more() -> None:
    scheduler = running(4, None, "a")
    scheduler.hold("a", 5.0)
    assert not scheduler.borrow("a", 4.9)
    assert scheduler.start(5.0) == []
    assert scheduler.borrow("a", 5.0)


def test_a_slot_that_comes_back_goes_to_who_waits_for_it() -> None:
    scheduler = running(2, None, "a")
    assert borrowed(scheduler, "a") == 1
    scheduler.add(9, "b")
    assert scheduler.start(0.0) == []
    scheduler.give_back("a")
    assert not scheduler.borrow("a", 0.0)
    assert scheduler.start(0.0) == [9]


def test_a_slot_that_comes_back_makes_room_on_its_host() -> None:
    scheduler = running(9, 2, "a")
    assert borrowed(scheduler, "a") == 1
    scheduler.add(9, "a")
    assert scheduler.start(0.0) == []
    scheduler.give_back("a")
    assert scheduler.start(0.0) == [9]


def test_a_host_is_remembered_until_its_last_slot_is_back() -> None:
    scheduler = running(4, None, "a")
    assert borrowed(scheduler, "a", 2) == 2
    scheduler.finish(0)
    assert scheduler._hosts
    assert scheduler.running == 0
    for _ in range(2):
        scheduler.give_back("a")
    assert not scheduler._hosts
    with pytest.raises(KeyError):
        scheduler.give_back("a")


@pytest.mark.parametrize(
    ("jobs", "per_host", "waiting", "expected"),
    [
        (2, None, "", False),
        (2, None, "a", True),
        (2, None, "b", True),
        (9, 2, "a", True),
        (9, 2, "", False),
    ],
)
def test_a_borrowed_slot_is_wanted_where_an_item_waits_that_could_have_it(
    jobs: int, per_host: int | None, waiting: str, expected: bool
) -> None:
    scheduler = running(jobs, per_host, "a")
    assert borrowed(scheduler, "a") == 1
    for number, host in enumerate(waiting, 10):
        scheduler.add(number, host)
    assert scheduler.start(0.0) == []
    assert scheduler.wanted("a") is expected
    scheduler.give_back("a")
    assert bool(scheduler.start(0.0)) is expected


def test_an_item_that_waits_for_its_time_or_for_another_hosts_slot_wants_no_slot() -> None:
    scheduler = running(9, 2, "abb")
    assert borrowed(scheduler, "a") == 1
    scheduler.add_again(10, "a", not_before=5.0)
    scheduler.add(11, "b")
    assert scheduler.start(0.0) == []
    assert not scheduler.wanted("a")
    assert scheduler.wanted("b")
    assert not scheduler.wanted("nobody's")
    assert scheduler.start(5.0) == []
    assert scheduler.wanted("a")


def test_slots_may_come_back_after_the_queues_were_drained() -> None:
    scheduler = running(2, None, "a")
    assert borrowed(scheduler, "a") == 1
    scheduler.add(5, "b")
    assert scheduler.drain() == [5]
    scheduler.give_back("a")
    scheduler.finish(0)
    assert scheduler.start(0.0) == []
    assert scheduler.borrow("a", 0.0) is False


@given(
    jobs=st.integers(1, 4),
    per_host=st.none() | st.integers(1, 3),
    items=st.lists(st.tuples(st.sampled_from(HOSTS), st.none() | st.floats(1, 20))),
    holds=st.lists(st.tuples(st.sampled_from(HOSTS), st.floats(1, 20))),
    durations=st.lists(st.floats(0.1, 5), min_size=1),
)
def test_every_item_starts_once_when_the_clock_only_ever_jumps_to_the_next_time(
    jobs: int,
    per_host: int | None,
    items: list[tuple[str, float | None]],
    holds: list[tuple[str, float]],
    durations: list[float],
) -> None:
    scheduler = Scheduler(jobs=jobs, per_host=per_host)
    for number, (host, not_before) in enumerate(items):
        if not_before is None:
            scheduler.add(number, host)
        else:
            scheduler.add_again(number, host, not_before=not_before)
    for host, until in holds:
        scheduler.hold(host, until)
    now, order = 1.0, []
    ends: dict[int, float] = {}
    while True:
        for number in scheduler.start(now):
            order.append(number)
            ends[number] = now + durations[number % len(durations)]
        times = [*ends.values(), *([due] if (due := scheduler.next_time()) is not None else [])]
        if not times:
            break
        assert min(times) > now, "the clock stands still"
        now = min(times)
        for number in [number for number, end in ends.items() if end <= now]:
            del ends[number]
            scheduler.finish(number)
    assert sorted(order) == list(range(len(items)))
    assert not scheduler._hosts


class World(RuleBasedStateMachine):
    """Items come, start, end and come again at random; a plain model says what may happen."""

    jobs = 3
    per_host = 2

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(jobs=self.jobs, per_host=self.per_host)
        self.now = 1.0
        self.count = 0
        self.host_of: dict[int, str] = {}
        self.fresh: dict[str, list[int]] = defaultdict(list)
        self.delayed: dict[int, float] = {}
        self.running: set[int] = set()
        self.held: dict[str, float] = {}
        self.lent: Counter[str] = Counter()

    def slots(self, host: str) -> int:
        return sum(self.host_of[item] == host for item in self.running) + self.lent[host]

    def could_start(self, host: str) -> bool:
        """Whether an item of ``host`` would start if there were slots without end."""
        waits = bool(self.fresh[host]) or any(
            due <= self.now and self.host_of[item] == host for item, due in self.delayed.items()
        )
        return waits and self.held.get(host, 0.0) <= self.now and self.slots(host) < self.per_host

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def borrow(self, data: st.DataObject) -> None:
        self.start()  # as the engine does before and after each change
        host = self.host_of[data.draw(st.sampled_from(sorted(self.running)))]
        in_all = len(self.running) + self.lent.total()
        if self.scheduler.borrow(host, self.now):
            assert in_all < self.jobs
            assert self.slots(host) < self.per_host
            assert self.held.get(host, 0.0) <= self.now, "a host was to be left alone"
            assert not any(map(self.could_start, HOSTS)), "somebody waits for that slot"
            self.lent[host] += 1
        elif in_all < self.jobs and self.slots(host) < self.per_host and self.held.get(host, 0.0) <= self.now:
            raise AssertionError("a slot to spare is not lent")

    @precondition(lambda self: self.lent.total())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(sorted(self.lent.elements())))
        self.lent[host] -= 1
        self.scheduler.give_back(host)

    @precondition(lambda self: self.lent.total())
    @rule(data=st.data())
    def ask_who_wants_a_borrowed_slot(self, data: st.DataObject) -> None:
        self.start()
        host = data.draw(st.sampled_from(sorted(self.lent.elements())))
        wanted = self.scheduler.wanted(host)
        self.lent[host] -= 1
        assert wanted or not any(map(self.could_start, HOSTS)), "somebody is starved by who borrowed"
        self.lent[host] += 1

    @rule(host=st.sampled_from(HOSTS))
    def add(self, host: str) -> None:
        self.count += 1
        self.host_of[self.count] = host
        self.fresh[host].append(self.count)
        self.scheduler.add(self.count, host)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), delay=st.floats(0, 10))
    def fail_and_try_later(self, data: st.DataObject, delay: float) -> None:
        item = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(item)
        self.scheduler.finish(item)
        self.delayed[item] = self.now + delay
        self.scheduler.add_again(item, self.host_of[item], not_before=self.now + delay)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(item)
        self.scheduler.finish(item)

    @rule(host=st.sampled_from(HOSTS), seconds=st.floats(0.1, 10))
    def hold(self, host: str, seconds: float) -> None:
        self.held[host] = max(self.held.get(host, 0.0), self.now + seconds)
        self.scheduler.hold(host, self.now + seconds)

    @rule(seconds=st.floats(0, 10))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def start(self) -> None:
        for item in self.scheduler.start(self.now):
            host = self.host_of[item]
            assert self.held.get(host, 0.0) <= self.now, "a host was to be left alone"
            if item in self.delayed:
                assert self.delayed.pop(item) <= self.now, "started before its time"
            else:
                assert self.fresh[host].pop(0) == item, "out of its host's order"
            self.running.add(item)
        assert len(self.running) + self.lent.total() <= self.jobs
        for host in HOSTS:
            assert self.slots(host) <= self.per_host
            if len(self.running) + self.lent.total() < self.jobs:
                assert not self.could_start(host), "a free slot stays empty"

    @invariant()
    def counts_agree(self) -> None:
        assert self.scheduler.running == len(self.running)
        expected = sum(map(len, self.fresh.values())) + len(self.delayed)
        assert sum(waiting(self.scheduler)) == expected

    def teardown(self) -> None:
        self.now = 1e6
        for host in self.lent.elements():
            self.scheduler.give_back(host)
        self.lent.clear()
        while self.running or self.delayed or any(self.fresh.values()):
            for item in sorted(self.running):
                self.running.remove(item)
                self.scheduler.finish(item)
            self.start()
        self.scheduler.start(self.now)
        assert not self.scheduler._hosts, "hosts are remembered for nothing"
        assert self.scheduler.next_time() is None


TestWorld = World.TestCase
