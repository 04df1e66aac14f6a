"""When a host counts as down, when it is asked again and what it costs until then: the rules of `downloader.health`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.health import FIRST_WAIT, GRACE, LONGEST_PAUSE, LONGEST_WAIT, PAUSE, ROUNDS, SILENT_TRIES, Health


def failed(health: Health, times: str) -> None:
    """Let requests fail: each letter one (r refused, s silent), those of a word at the same time."""
    now = 100.0
    for word in times.split():
        begun = now
        now += 10.0
        for kind in word:
            health.failed(now, begun, silent=kind == "s")


@pytest.mark.parametrize(
    ("course", "down"),
    [
        ("", False),
        ("r", False),
        ("r r", False),
        ("r r r", True),
        ("rrrrrrrr", False),  # at the same time: once
        ("rrrr rrrr", False),
        ("rrrr r rrrr", True),
        ("s", False),
        ("ss", True),  # silence costs the time-out: two are enough, at the same time or not
        ("s s", True),
        ("r s", True),
        ("s r", False),
        ("r r s", True),
    ],
)
def test_so_many_tries_in_vain_make_a_host_count_as_down(course: str, down: bool) -> None:
    health = Health()
    failed(health, course)
    assert (health.probe_at is not None) is down
    assert health.tries == len(course.replace(" ", ""))
    assert health.may_ask(100.0 + 10 * len(course.split())) is not down


def test_an_answer_between_begins_the_count_anew() -> None:
    health = Health()
    for _ in range(5):
        failed(health, "r r")
        health.answered()
        assert (health.tries, health.probe_at) == (0, None)


def test_refusals_while_others_are_in_flight_are_no_outage_until_those_have_ended() -> None:
    health = Health()
    for number in range(20):
        health.failed(10.0 * number, 10.0 * number - 1, silent=False, others=1)
    assert health.probe_at is None
    health.failed(300.0, 299.0, silent=False)
    assert health.probe_at is not None


def test_silence_counts_though_others_are_in_flight() -> None:
    health = Health()
    for _ in range(SILENT_TRIES):
        health.failed(30.0, 0.0, silent=True, others=6)
    assert health.probe_at is not None


@pytest.mark.parametrize(("seconds", "down"), [(0.0, False), (GRACE - 1, False), (GRACE, True), (GRACE + 9, True)])
def test_a_host_that_has_answered_may_be_away_for_a_while(seconds: float, down: bool) -> None:
    health = Health()
    health.answered()
    for number in range(ROUNDS + 3):
        health.failed(100.0 + number / 100, 100.0 + number / 100, silent=False)
    assert health.probe_at is None
    health.failed(100.0 + seconds, 99.0 + seconds, silent=False)
    assert (health.probe_at is not None) is down


def test_the_waits_double_and_count_once_for_requests_of_the_same_time() -> None:
    health = Health()
    health.answered()
    now, waits = 0.0, []
    for _ in range(7):
        waits.append(health.failed(now, now, silent=False))
        assert health.failed(now, now - 1e-6, silent=False) == 0.0
        now += 0.5
    assert waits == [FIRST_WAIT * 2**number for number in range(5)] + [LONGEST_WAIT] * 2
    health.answered()
    assert health.failed(now, now, silent=False) == FIRST_WAIT


def test_silence_is_not_waited_for_again() -> None:
    assert Health().failed(30.0, 0.0, silent=True) == 0.0


def test_a_host_that_is_down_is_asked_by_one_now_and_then_ever_more_rarely() -> None:
    health = Health()
    failed(health, "s s")
    assert health.probe_at is not None
    now, pauses = health.probe_at - PAUSE, []
    for _ in range(8):
        due = health.probe_at
        assert not health.may_ask(due - 0.01)
        assert health.may_ask(due)
        assert not health.may_ask(due), "one at a time"
        pauses.append(due - now)
        now = due
        assert health.failed(due + 1, due, silent=False) == 0.0
    assert pauses == [min(LONGEST_PAUSE, PAUSE * 2**number) for number in range(8)]


def test_an_answer_closes_the_circuit() -> None:
    health = Health()
    failed(health, "s s")
    health.answered()
    assert health.probe_at is None
    assert health.may_ask(0.0)
    failed(health, "s s")
    assert health.probe_at is None, "it has answered before: it may be away for a while"


@given(st.lists(st.tuples(st.sampled_from("ars?"), st.floats(0, 20), st.integers(0, 3)), max_size=60))
def test_whatever_happens_waits_are_bounded_and_an_answer_mends_all(events: list[tuple[str, float, int]]) -> None:
    health, now = Health(), 0.0
    for kind, seconds, others in events:
        begun, now = now, now + seconds
        if kind == "a":
            health.answered()
            assert (health.tries, health.probe_at) == (0, None)
        elif kind == "?":
            asked = health.may_ask(now)
            assert asked or (health.probe_at is not None and now < health.probe_at <= now + LONGEST_PAUSE)
        else:
            before = health.probe_at
            assert 0 <= health.failed(now, begun, silent=kind == "s", others=others) <= LONGEST_WAIT
            assert before is None or health.probe_at == before
            assert health.probe_at is None or health.tries >= min(ROUNDS, SILENT_TRIES)
