"""Retry policies are values; Retry-After is obeyed in both of its forms, and only as far as it makes sense."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors
from downloader.retry import BASE, CAP, PATIENCE, Retry, http_date, retry_after

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC).timestamp()
AT_NOON = "Wed, 01 May 2024 12:00:00 GMT"


def refusal(seconds: float | None = None) -> errors.StatusError:
    error = errors.StatusError("HTTP 503 Service Unavailable", status=503)
    error.retryable = True
    error.retry_after = seconds
    return error


def test_the_policy_is_a_value_that_remembers() -> None:
    first = Retry(2)
    second = first.next(errors.ConnectError("reset"))
    assert second is not None
    third = second.next(errors.BodyError("short"))
    assert third is not None
    assert (first.attempt, second.attempt, third.attempt) == (1, 2, 3)
    assert (first.left, second.left, third.left) == (2, 1, 0)
    assert third.history == ("connection", "body")
    assert third.next(errors.ConnectError("reset")) is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.left = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.ConnectError("x"), True),
        (errors.TimedOut("x"), True),
        (errors.BodyError("x"), True),
        (refusal(), True),
        (refusal(PATIENCE), True),
        (refusal(PATIENCE + 1), False),
        (errors.StatusError("HTTP 404 Not Found", status=404), False),
        (errors.TlsError("x"), False),
        (errors.NotMedia("x"), False),
        (errors.RedirectError("x"), False),
        (errors.ProtocolError("x"), False),
        (errors.SizeError("x"), False),
        (errors.ChecksumMismatch("x"), False),
        (errors.DeadlineExceeded("x"), False),
        (errors.Interrupted("x"), False),
        (errors.InternalError("x"), False),
    ],
    ids=lambda value: value.kind if isinstance(value, errors.GdlError) else str(value),
)
def test_only_what_may_pass_is_tried_again(error: errors.ItemError, again: bool) -> None:
    assert (Retry(5).next(error) is not None) is again


def test_without_retries_nothing_is_tried_again() -> None:
    assert Retry(0).next(errors.ConnectError("x")) is None


@given(tries=st.integers(1, 200), jitter=st.floats(0, 1))
def test_backoff_is_bounded_whatever_the_number_of_tries(tries: int, jitter: float) -> None:
    retry = Retry(0, history=("connection",) * tries)
    delay = retry.delay(errors.ConnectError("x"), jitter)
    assert BASE / 2 <= delay <= CAP


@given(jitter=st.floats(0, 1))
def test_backoff_doubles_until_its_cap(jitter: float) -> None:
    delays = [Retry(0, ("connection",) * tries).delay(errors.ConnectError("x"), jitter) for tries in range(1, 12)]
    for before, after in pairwise(delays):
        assert after == pytest.approx(min(2 * before, CAP * (0.5 + jitter / 2)))


@given(seconds=st.floats(0, PATIENCE), tries=st.integers(1, 50), jitter=st.floats(0, 1))
def test_a_server_is_left_alone_as_long_as_it_asks_and_little_longer(seconds: float, tries: int, jitter: float) -> None:
    delay = Retry(0, ("http",) * tries).delay(refusal(seconds), jitter)
    assert seconds <= delay <= seconds + 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("١٢", None),
        (AT_NOON, 0.0),
        ("Wed, 01 May 2024 12:01:30 GMT", 90.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        ("Wednesday, 01-May-24 12:00:30 GMT", 30.0),
        ("Wed May  1 12:00:10 2024", 10.0),
        ("Wed, 99 May 2024 12:00:00 GMT", None),
        ("Wed, 01 May 99999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, expected: float | None) -> None:
    assert retry_after(value, now=NOON) == expected


def test_an_absurd_number_of_seconds_is_a_long_time() -> None:
    seconds = retry_after("9" * 5000, now=NOON)
    assert seconds is not None
    assert PATIENCE < seconds < float("inf")


@given(st.text(max_size=60))
def test_no_text_breaks_retry_after(value: str) -> None:
    seconds = retry_after(value, now=NOON)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 given a zone
def test_an_http_date_comes_back_as_written(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert http_date(format_datetime(moment, usegmt=True)) == moment.timestamp()


@pytest.mark.parametrize("value", [None, "", "0", "yesterday", "Wed, 01", "\x00", "Wed, 01 May 2024 25:00:00 GMT"])
def test_what_is_no_date_is_none(value: str | None) -> None:
    assert http_date(value) is None
