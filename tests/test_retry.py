"""Retry-After is read in both of its forms, and only as far as it makes sense."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.retry import PATIENCE, http_date, retry_after

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC).timestamp()
AT_NOON = "Wed, 01 May 2024 12:00:00 GMT"


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
