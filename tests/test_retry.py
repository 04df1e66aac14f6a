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
        # Other digits and blanks than ASCII's.
        ("7\xa0", None),
        ("1_0", None),
        ("²", None),
        (AT_NOON.replace("01", "0_1"), None),
        (AT_NOON.replace(" ", "\xa0"), None),
        (AT_NOON.replace("12", "١٢"), None),
        # Of several the longest wait.
        ("1, 20, 3", 20.0),
        (",, 3 ,", 3.0),
        ("soon, 3", 3.0),
        ("3, soon", 3.0),
        ("-1, 1.5", None),
        ("10, Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 12:00:30 GMT, 40", 40.0),
        ("Wednesday, 01-May-24 12:00:30 GMT,Wed, 01 May 2024 12:00:20 GMT , 5", 30.0),
        ("0000000000120", 120.0),
        ("0" * 5000, 0.0),
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


def test_of_a_list_without_end_the_beginning_counts() -> None:
    assert retry_after("7," + "9" * 2000, now=NOON) == float("9" * 9)
    assert retry_after("7," + "x" * 2000 + ",99", now=NOON) == 7.0


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "0", "yesterday", "Wed, 01", "\x00", "Wed, 01 May 2024 25:00:00 GMT"),
        # Two dates, as a proxy joins them, are none.
        f"{AT_NOON}, {AT_NOON}",
        f"{AT_NOON} {'x' * 5000}",
    ],
)
def test_what_is_no_date_is_none(value: str | None) -> None:
    assert http_date(value) is None
