"""The alarm rings once, at the earliest of the times it was set for, and can be set again."""

from __future__ import annotations

import time

import gevent
import pytest
from gevent.event import Event

from downloader.alarm import Alarm

pytestmark = pytest.mark.timeout(60)
FAR = 3600.0


class Bell:
    """An alarm and the times at which it rang."""

    def __init__(self) -> None:
        self.rung: list[float] = []
        self._heard = Event()
        self.alarm = Alarm(self._ring)

    def _ring(self) -> None:
        self.rung.append(time.monotonic())
        self._heard.set()

    def set(self, seconds: float) -> float:
        """Set it for so many seconds from now; return that time."""
        now = time.monotonic()
        self.alarm.set(now + seconds, now)
        return now + seconds

    def hear(self) -> None:
        assert self._heard.wait(30), "the alarm does not ring"
        self._heard.clear()


def test_it_rings_once_and_not_before_its_time() -> None:
    bell = Bell()
    due = bell.set(0.05)
    bell.hear()
    gevent.sleep(0.1)
    assert len(bell.rung) == 1
    assert bell.rung[0] >= due - 0.02


@pytest.mark.parametrize("seconds", [(0.05, FAR), (FAR, 0.05), (FAR, 0.05, FAR / 2, FAR * 2)])
def test_the_earliest_time_counts_in_whatever_order_they_come(seconds: tuple[float, ...]) -> None:
    bell = Bell()
    for each in seconds:
        bell.set(each)
    bell.hear()
    assert len(bell.rung) == 1
    bell.alarm.close()


def test_a_time_that_has_passed_rings_soon() -> None:
    bell = Bell()
    bell.set(-5.0)
    assert bell.rung == [], "never within the call that sets it"
    bell.hear()


def test_it_can_be_set_again_after_it_rang_and_while_it_rings() -> None:
    bell = Bell()
    bell.set(0.01)
    bell.hear()
    bell.set(0.01)
    bell.hear()
    again: list[float] = []
    heard = Event()

    def ring() -> None:
        again.append(time.monotonic())
        if len(again) < 3:
            alarm.set(again[-1] + 0.01, again[-1])
        else:
            heard.set()

    alarm = Alarm(ring)
    alarm.set(0.0, 0.0)
    assert heard.wait(30)
    assert len(bell.rung) == 2


def test_when_it_has_rung_the_later_times_are_forgotten() -> None:
    bell = Bell()
    bell.set(0.01)
    bell.set(0.1)
    bell.hear()
    gevent.sleep(0.3)
    assert len(bell.rung) == 1


def test_a_closed_alarm_is_silent_and_may_be_closed_again() -> None:
    bell = Bell()
    bell.alarm.close()
    bell.set(0.01)
    bell.alarm.close()
    bell.alarm.close()
    gevent.sleep(0.1)
    assert bell.rung == []
