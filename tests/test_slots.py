"""Slots in a real hub: who waits gets one in turn, whatever becomes of others, and borrowed ones are given back."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol

import gevent
import pytest
from gevent.event import Event
from support import faults as f
from support.samples import picture

from downloader import errors, naming, urls
from downloader.attempts import Attempts
from downloader.claims import NameLedger
from downloader.context import Context, Name
from downloader.hosts import Host, Ticket
from downloader.items import Address, Item, Listener, Running, Tally
from downloader.options import Options
from downloader.retry import PATIENCE
from downloader.slot import Slot
from downloader.slots import Slots
from downloader.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)
A, B = "http://a:80", "http://b:80"
FAR = 3600.0
MIB = 1024 * 1024
BUSY = errors.StatusError("HTTP 503", status=503)
PASSING = 0.1
LONGER = 0.6
"""Seconds in which even a slow machine comes to its next line."""


class OpenDesk(Protocol):
    def __call__(self, *, jobs: int = 1, per_host: int | None = None) -> Desk: ...


class Desk:
    """Slots, and greenlets that wait at them for another turn."""

    def __init__(self, *, jobs: int = 1, per_host: int | None = None) -> None:
        self.started: list[int] = []
        self.granted: list[int] = []
        self.killed: list[int] = []
        self.gone: set[int] = set()
        """Items that have ended before their turn came."""
        self._heard = Event()
        self.slots = Slots(Options(jobs=jobs, per_host=per_host), self._start)

    def _start(self, index: int) -> bool:
        if index in self.gone:
            return False
        self.started.append(index)
        self._heard.set()
        return True

    def wait(self, index: int, delay: float = 0.0, host: str = A) -> Any:
        """A greenlet that holds a slot of ``host``, frees it and waits for another; it has come that far."""
        if index not in self.started:
            self.slots.add(index, host)
        assert index in self.started
        self.gone.add(index)
        greenlet = gevent.spawn(self._wait, index, host, delay)
        gevent.sleep(0)
        return greenlet

    def _wait(self, index: int, host: str, delay: float) -> None:
        self.slots.finish(index)
        try:
            self.slots.wait(index, host, delay)
        except gevent.GreenletExit:
            self.killed.append(index)
            raise
        self.granted.append(index)
        self._heard.set()

    def hear(self, *, started: list[int] | None = None, granted: list[int] | None = None) -> None:
        """Wait until so many have come, and see that they are these in this order."""
        for kind, expected in (("started", started), ("granted", granted)):
            while expected is not None and len(getattr(self, kind)) < len(expected):
                self._heard.clear()
                assert self._heard.wait(30), f"{getattr(self, kind)} {kind}, and no more come"
            assert expected is None or getattr(self, kind) == expected

    def assert_free(self, count: int) -> None:
        """So many slots are free, no more and no fewer."""
        before = len(self.started)
        for index in range(1000, 1002 + count):
            self.slots.add(index, B)
        assert self.started[before:] == list(range(1000, 1000 + count))


@pytest.fixture
def open_desk() -> Iterator[OpenDesk]:
    """Makes them: ``open_desk(jobs=9, per_host=1)``."""
    with ExitStack() as stack:

        def make(*, jobs: int = 1, per_host: int | None = None) -> Desk:
            desk = Desk(jobs=jobs, per_host=per_host)
            stack.callback(desk.slots.close)
            return desk

        yield make


@pytest.fixture
def desk(open_desk: OpenDesk) -> Desk:
    """One with a single slot."""
    return open_desk()


# New items


def test_items_start_within_the_call_that_adds_them_or_frees_a_slot(desk: Desk) -> None:
    for index in (1, 2, 3):
        desk.slots.add(index, A)
    assert desk.started == [1]
    desk.slots.finish(1)
    assert desk.started == [1, 2]


def test_an_item_that_has_ended_meanwhile_leaves_its_slot_to_the_next(desk: Desk) -> None:
    for index in (1, 2, 3, 4):
        desk.slots.add(index, A)
    desk.gone = {2, 3}
    desk.slots.finish(1)
    assert desk.started == [1, 4]


# Waiting for another turn


def test_who_waits_holds_no_slot_and_comes_before_those_that_have_not_begun(desk: Desk) -> None:
    for index in (1, 2, 3):
        desk.slots.add(index, A)
    desk.wait(1, PASSING)
    assert desk.started == [1, 2]
    gevent.sleep(2 * PASSING)
    assert desk.granted == [], "no slot is free"
    desk.slots.finish(2)
    desk.hear(granted=[1])
    assert desk.started == [1, 2]
    desk.slots.finish(1)
    assert desk.started == [1, 2, 3]


def test_a_wait_ends_by_the_clock_and_not_before_its_time(desk: Desk) -> None:
    begun = time.monotonic()
    desk.wait(1, PASSING)
    desk.hear(granted=[1])
    assert time.monotonic() - begun >= PASSING
    desk.assert_free(0)


def test_waits_end_in_the_order_of_their_times(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=3)
    for index, delay in ((1, 2 * LONGER), (2, PASSING), (3, 2 * PASSING)):
        desk.wait(index, delay)
    desk.hear(granted=[2, 3, 1])


def test_an_item_may_wait_for_another_host_than_its_first(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=9, per_host=1)
    desk.slots.add(2, B)
    desk.wait(1, host=A)
    desk.hear(granted=[1])
    desk.wait(1, host=B)
    gevent.sleep(PASSING)
    assert desk.granted == [1]
    desk.slots.finish(2)
    desk.hear(granted=[1, 1])


def test_who_is_killed_in_its_wait_takes_no_slot_with_it(desk: Desk) -> None:
    desk.wait(1, LONGER).kill()
    assert (desk.killed, desk.granted) == ([1], [])
    gevent.sleep(LONGER + PASSING)
    desk.assert_free(1)


def test_who_is_killed_in_the_queue_leaves_its_turn_to_the_next(desk: Desk) -> None:
    for index in (1, 2, 3):
        desk.slots.add(index, A)
    desk.wait(1).kill()
    desk.slots.finish(2)
    assert desk.started == [1, 2, 3]


def test_who_is_killed_between_its_grant_and_its_next_step_gives_the_slot_back(desk: Desk) -> None:
    desk.slots.add(2, A)
    desk.gone.add(1)
    taken: list[bool] = []

    def wait() -> None:
        desk.slots.wait(1, A, 0.0)
        taken.append(True)

    waiting = gevent.spawn(wait)
    gevent.sleep(0)
    waiting.kill(block=False)  # before the hub can hand the slot over
    desk.slots.finish(2)
    waiting.join()
    assert taken == []
    gevent.sleep(0)
    desk.assert_free(1)


# Hosts that want to be left alone


def test_what_is_held_starts_by_itself_when_its_time_has_come(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=9)
    begun = time.monotonic()
    desk.slots.hold(A, LONGER)
    desk.slots.add(1, A)
    desk.slots.add(2, B)
    assert desk.started == [2]
    assert not desk.slots.borrow(A)
    assert desk.slots.borrow(B)
    desk.hear(started=[2, 1])
    assert time.monotonic() - begun >= LONGER


def test_a_time_too_long_to_wait_has_items_start_and_be_told(desk: Desk) -> None:
    desk.slots.hold(A, PATIENCE + FAR)
    desk.slots.add(1, A)
    assert desk.started == [1]
    assert PATIENCE < desk.slots.closed_for(desk.slots.ticket(1).host) <= PATIENCE + FAR
    desk.slots.finish(1)
    desk.slots.add(2, B)
    assert desk.slots.closed_for(desk.slots.ticket(2).host) == 0


# Borrowed slots


@pytest.mark.parametrize(("jobs", "per_host"), [(3, None), (9, 3)])
def test_as_many_slots_are_borrowed_as_are_free(open_desk: OpenDesk, jobs: int, per_host: int | None) -> None:
    desk = open_desk(jobs=jobs, per_host=per_host)
    assert not desk.slots.borrow(A), "nobody there has a slot of its own"
    desk.slots.add(1, A)
    assert [desk.slots.borrow(A) for _ in range(3)] == [True, True, False]
    desk.slots.give_back(A)
    assert [desk.slots.borrow(A) for _ in range(2)] == [True, False]


def test_a_slot_given_back_goes_to_the_item_in_the_queue(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=2)
    desk.slots.add(1, A)
    assert desk.slots.borrow(A)
    desk.slots.add(2, B)
    assert desk.started == [1]
    desk.slots.give_back(A)
    assert desk.started == [1, 2]
    assert not desk.slots.borrow(A)


def test_a_slot_given_back_wakes_who_waits_for_its_next_turn(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=2)
    desk.slots.add(1, A)
    desk.wait(2, PASSING)
    assert desk.slots.borrow(A)
    gevent.sleep(2 * PASSING)
    assert desk.granted == []
    desk.slots.give_back(A)
    desk.hear(granted=[2])


def test_a_borrowed_slot_is_wanted_while_somebody_waits_who_could_have_it(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=2)
    desk.slots.add(1, A)
    assert desk.slots.borrow(A)
    assert [desk.slots.wanted(host) for host in (A, B)] == [False, False]
    desk.slots.add(2, B)
    assert desk.slots.wanted(A)
    desk.slots.give_back(A)
    assert desk.started == [1, 2]
    assert [desk.slots.wanted(host) for host in (A, B)] == [False, False]


def test_no_slot_is_borrowed_when_the_run_is_stopped(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=3)
    desk.slots.add(1, A)
    assert desk.slots.borrow(A)
    desk.slots.stop()
    assert not desk.slots.borrow(A)
    desk.slots.give_back(A)


# The end


def test_nothing_starts_any_more_when_the_run_is_stopped(desk: Desk) -> None:
    for index in (1, 2, 3):
        desk.slots.add(index, A)
    waiting = desk.wait(1, PASSING)
    desk.slots.stop()
    desk.slots.finish(2)
    desk.slots.add(4, A)
    gevent.sleep(2 * PASSING)
    assert (desk.started, desk.granted) == ([1, 2], [])
    waiting.kill()
    assert desk.killed == [1]


def test_closed_slots_ring_no_more_and_may_be_closed_again(desk: Desk) -> None:
    waiting = desk.wait(1, PASSING)
    desk.slots.close()
    desk.slots.close()
    gevent.sleep(2 * PASSING)
    assert desk.granted == []
    waiting.kill()


# What is told of hosts


def test_who_is_told_of_a_change_may_wait_and_hears_of_a_burst_once() -> None:
    told: list[str] = []

    def note(line: str) -> None:
        gevent.sleep(0)  # as for a reader that is behind
        told.append(line)
        heard.set()

    heard = Event()
    options = Options(jobs=8)
    with closing(Slots(options, lambda _: True, note=note)) as slots:
        for index in range(8):
            slots.add(index, A)
        for index in range(8):
            slots.refused(slots.ticket(index), BUSY)
            slots.finish(index)
        slots.add(8, B)
        assert heard.wait(30)
        assert told == ["a: 4 at once: it refused more"]
        assert slots.found() == ["a: asked to slow down once"]


def test_what_is_untold_at_the_end_is_told_then() -> None:
    told: list[str] = []
    slots = Slots(Options(jobs=8), lambda _: True, note=told.append)
    slots.add(0, A)
    slots.refused(slots.ticket(0), BUSY)
    slots.close()
    slots.close()
    assert told == ["a: 4 at once: it refused more"]


def test_a_host_that_is_down_is_warned_of_and_that_it_answers_again_is_noted() -> None:
    told: list[str] = []
    with closing(Slots(Options(jobs=8), lambda _: True, note=told.append, warn=told.append)) as slots:
        slots.add(0, A)
        ticket = slots.ticket(0)
        assert [slots.unreachable(ticket, "nothing came for 30 s", silent=True) for _ in range(3)] == [
            False,
            True,
            True,
        ]
        slots.answered(ticket, 0.1, 1)
        slots.answered(ticket, 0.1, 1)
        assert told == ["a is down: gave up after 2 tries: nothing came for 30 s", "a answers again"]
        (line,) = slots.found()
        assert line.endswith("; was down (nothing came for 30 s), then answered again")
        slots.finish(0)


def test_a_host_that_was_silent_and_goes_on_to_send_is_not_down_any_more() -> None:
    told: list[str] = []
    running = {0: Running(Item(Address(f"{A}/a.mp4")), started=0.0, name="a")}
    with closing(Slots(Options(jobs=8), lambda _: True, note=told.append, warn=told.append, running=running)) as slots:
        for index in range(3):
            slots.add(index, A)
        host = slots.ticket(0).host
        for index in (1, 2):
            slots.unreachable(slots.ticket(index), "nothing came for 30 s", silent=True)
            slots.finish(index)
        assert slots.troubles.shown(time.monotonic()) == ("a down", "1 host down")
        running[0].received = 1000
        slots._tick()
        assert host.health.probe_at is None
        assert told == ["a is down: gave up after 2 tries: nothing came for 30 s", "a answers again"]
        slots.finish(0)
        assert slots.troubles.shown(time.monotonic()) == ()


def test_a_host_that_has_nothing_left_to_do_is_not_shown() -> None:
    with closing(Slots(Options(jobs=8), lambda _: True)) as slots:
        slots.add(0, A)
        slots.refused(slots.ticket(0), BUSY)
        slots.refused(slots.ticket(0), BUSY)
        assert slots.troubles.shown(time.monotonic())
        slots.finish(0)
        assert slots.troubles.shown(time.monotonic()) == ()


# One item's slots and tries


class Heard(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.retries: list[int] = []
        self.retrying_now = Event()

    def noted(self, message: str) -> None:
        self.notes.append(message)

    def retrying(self, item: Item, error: errors.ItemError, delay: float, attempt: int) -> None:  # noqa: ARG002
        self.retries.append(attempt)
        self.retrying_now.set()


class Work:
    """What the attempts of an item need, and what they leave."""

    def __init__(self, output: Path, transport: Transport, **options: Any) -> None:
        self.options = Options(output=str(output), **options)
        self.heard = Heard()
        self.context = Context(self.options, transport, NameLedger(), listeners=[self.heard])
        self.desk = Desk()
        self.shown: dict[int, Running] = {}
        self.tally = Tally()

    def attempts(self, *addresses: str) -> Attempts:
        """Those of an item with a slot."""
        first, *mirrors = map(Address, addresses)
        item = Item(first, mirrors=tuple(mirrors))
        self.desk.slots.add(1, urls.host_key(item.url))
        self.desk.gone.add(1)
        known = naming.known_beforehand(explicit=None, template=None, url=item.url, index=1)
        name = Name(item, known, self.context.ledger.enter(1, item.url, known))
        running = Running(item, started=time.monotonic(), name="a")
        return Attempts(self.context, self.desk.slots, name, running, self.shown, self.tally)

    def assert_nothing_left(self) -> None:
        assert (self.shown, self.tally.waiting) == ({}, 0)
        self.desk.assert_free(1)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    options: dict[str, Any] = {"retries": 1, "timeout": 20.0}
    with closing(Transport(Options(**options), spare=1)) as transport:
        work = Work(tmp_path, transport, **options)
        yield work
        work.desk.slots.close()
        work.context.locks.close()


def test_a_file_that_is_saved_has_no_slot_and_is_not_shown_any_more(work: Work, faults: f.FaultServer) -> None:
    body = picture(1, 5000)
    saved = work.attempts(faults.route("/a.jpg", f.ok(body))).run()
    assert saved.size == work.tally.received == len(body)
    work.assert_nothing_left()


def test_a_file_that_failed_for_good_has_no_slot_and_each_of_its_tries_counts(
    work: Work, faults: f.FaultServer
) -> None:
    body = picture(1, 5000)
    attempts = work.attempts(faults.route("/a.jpg", f.truncated(body, 3000)))
    with pytest.raises(errors.BodyError):
        attempts.run()
    assert work.heard.retries == [1]
    assert len(faults.requests_for("/a.jpg")) == 2
    assert work.tally.received == 6000
    work.assert_nothing_left()


def test_the_last_failure_of_several_addresses_tells_of_the_others(
    work: Work, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    attempts = work.attempts(
        faults.route("/a.jpg", f.status(404)), more_faults.route("/b.jpg", f.status(410)), more_faults.url("/c.jpg")
    )
    with pytest.raises(errors.StatusError, match=r"HTTP 404 .* \(and 2 other addresses failed, too\)"):
        attempts.run()
    assert work.heard.retries == [1, 2]
    work.assert_nothing_left()


def test_who_is_killed_while_it_is_answered_has_no_slot(work: Work, faults: f.FaultServer) -> None:
    attempts = work.attempts(faults.route("/a.jpg", f.stalled(picture(1, 5000), 100)))
    running = gevent.spawn(attempts.run)
    while not work.tally.received and not any(shown.received for shown in work.shown.values()):
        gevent.sleep(0.005)
    running.kill()
    attempts.download.abandon()
    work.assert_nothing_left()


def test_who_is_killed_while_it_waits_for_the_next_try_has_no_slot(work: Work, faults: f.FaultServer) -> None:
    attempts = work.attempts(faults.route("/a.jpg", f.status(503, retry_after=300)))
    running = gevent.spawn(attempts.run)
    assert work.heard.retrying_now.wait(30)
    gevent.sleep(0)
    assert (work.shown, work.tally.waiting) == ({}, 1)
    running.kill()
    attempts.download.abandon()
    work.assert_nothing_left()


def test_a_host_that_may_not_be_asked_for_too_long_is_not_asked(work: Work, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(picture(1, 5000)))
    work.desk.slots.hold(urls.host_key(url), PATIENCE + FAR)
    with pytest.raises(errors.StatusError, match="not asked"):
        work.attempts(url).run()
    assert faults.requests_for("/a.jpg") == []
    work.assert_nothing_left()


class Film:
    """A large file of an item with a slot."""

    host = A
    left = 100 * MIB
    received = 0
    transfers = 1

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def help(self) -> bool:
        if not self._slots.borrow(A):
            return False
        self.transfers += 1
        return True

    def do_without_help(self) -> None:
        self.transfers = 1


def slot_of(desk: Desk, host: str) -> Slot:
    slot = Slot(desk.slots, Running(Item(Address(f"{A}/a.jpg")), started=0.0, name="a"))
    slot.take(Ticket(Host(host, 9), 0, 0.0))
    return slot


def slot_that_holds(desk: Desk, index: int) -> Slot:
    slot = slot_of(desk, A)
    slot.take(desk.slots.ticket(index))
    return slot


def test_a_refusal_holds_the_host_that_is_asked(work: Work) -> None:
    slot = slot_of(work.desk, A)
    refusal = errors.StatusError("HTTP 503", status=503)
    slot.hold(refusal)
    assert work.desk.slots.found() == []
    refusal.retry_after = FAR
    slot.hold(refusal)
    assert work.desk.slots.found() == ["a: wants to be left alone for 1h00m"]
    for index, host in enumerate((A, B)):
        work.desk.slots.add(index, host)
        assert (work.desk.slots.closed_for(work.desk.slots.ticket(index).host) > PATIENCE) is (host == A)
        work.desk.slots.finish(index)


def test_slots_to_spare_are_offered_when_the_list_has_come_to_its_end(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=3)
    desk.slots.add(1, A)
    film = Film(desk.slots)
    desk.slots.tail.add(film)
    for now in range(4):
        film.received += MIB
        desk.slots.tail.look(float(now))
    desk.slots.pump()
    gevent.sleep(0)
    assert film.transfers == 1, "more items may come"
    desk.slots.add(2, B)
    desk.slots.end_of_list()
    gevent.sleep(0)
    assert film.transfers == 2
    desk.slots.add(3, B)
    desk.slots.give_back(A)
    film.transfers = 1
    assert desk.started == [1, 2, 3], "items come first"
    desk.slots.finish(3)
    gevent.sleep(0)
    assert film.transfers == 2
    desk.slots.stop()
    desk.slots.give_back(A)


def test_bytes_of_ranges_that_have_ended_are_counted_once(work: Work) -> None:
    desk = work.desk
    desk.slots.add(1, A)
    slot = slot_that_holds(desk, 1)
    host, running = slot.host, slot._running
    running.received = 5000
    ticket = slot.begin()
    slot.answered(ticket, 0.1, 3000)
    assert (host.answers, host.received + running.received - running.counted) == (1, 5000)
    slot.failed(ticket, errors.BodyError("cut short"))
    assert (host.answers, host.received + running.received - running.counted) == (2, 5000)


def test_a_burst_of_refused_helpers_is_one_signal(work: Work) -> None:
    desk = work.desk
    desk.slots.add(1, A)
    slot = slot_that_holds(desk, 1)
    tickets = [slot.begin() for _ in range(7)]
    for ticket in tickets:
        slot.failed(ticket, errors.StatusError("HTTP 503", status=503))
    assert slot.host.limit.falls == 1


def test_a_slot_borrows_from_the_host_that_is_asked_in_this_try(open_desk: OpenDesk) -> None:
    desk = open_desk(jobs=9, per_host=2)
    desk.slots.add(1, A)
    slot = slot_of(desk, B)
    assert not slot.borrow()
    slot.take(desk.slots.ticket(1))
    assert slot.borrow()
    assert not slot.borrow()
    slot.give_back()
    assert slot.borrow()
