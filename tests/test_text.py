"""Sizes, durations, and what strangers wrote, as people get to see them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.text import escaped, fit, format_duration, format_rate, format_size, printable, width

# Numbers.


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.0 kB"),
        (1000, "1.0 kB"),
        (2100, "2.1 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_400_000, "12.4 MB"),
        (5_000_000_000, "5.0 GB"),
        (10**15, "1.0 PB"),
        (5 * 10**21, "5000 EB"),
    ],
)
def test_a_size_has_at_most_three_digits_and_an_si_unit(count: float, text: str) -> None:
    assert format_size(count) == text
    assert format_rate(count) == text + "/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (1.5, "1.5 s"),
        (2.0, "2 s"),
        (8.23, "8.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1m00s"),
        (83, "1m23s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
        (86_400, "1d00h"),
        (273_600, "3d04h"),
    ],
)
def test_a_duration_has_its_two_leading_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


# Text of strangers.


@given(st.text(st.characters(codec=None)))
def test_no_text_can_drive_a_terminal_or_make_a_second_line(text: str) -> None:
    for made in (printable(text), escaped(text)):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", made)
        assert len(made.splitlines()) <= 1
        made.encode()


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("cat.jpg", 10, "cat.jpg   "),
        ("cat.jpg", 7, "cat.jpg"),
        ("a-very-long-name.jpeg", 14, "a-very-…e.jpeg"),
        ("holiday_photo_000123.jpg", 16, "holiday_…123.jpg"),
        ("中文视频文件名.mkv", 12, "中文视….mkv "),
        ("e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", 4, "e\u0301e\u0301…e\u0301"),
        ("no-extension-here", 9, "no-e…here"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
    ],
)
def test_a_name_too_wide_loses_its_middle_and_keeps_its_extension(text: str, columns: int, shown: str) -> None:
    assert fit(text, columns).rstrip() == shown.rstrip()
    assert width(fit(text, columns)) == columns


@given(st.text(st.sampled_from("ab.中文é\u0301\u200d\ufe0f👩😀한 ")), st.integers(0, 60))
def test_a_fitted_name_is_as_wide_as_asked(text: str, columns: int) -> None:
    assert width(fit(text, columns)) == columns
