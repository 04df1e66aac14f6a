"""Header lines become a head: leniently, the first field of a name counting, the last status line too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.responses import Head


def parsed(*lines: str | bytes) -> Head:
    return Head.parse(line if isinstance(line, bytes) else line.encode("latin-1") + b"\r\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "status", "version"),
    [
        ("HTTP/1.1 200 OK", 200, "1.1"),
        ("HTTP/1.0 404 Not: Found", 404, "1.0"),
        ("HTTP/2 200 ", 200, "2"),
        ("HTTP/3 503", 503, "3"),
        ("HTTP/1.1", 0, "1.1"),
        ("HTTP/1.1 2xx", 0, "1.1"),
        ("HTTP/1.1 20", 0, "1.1"),
        ("HTTP/1.1 2000 OK", 0, "1.1"),
        ("HTTP/1.1 00200 OK", 0, "1.1"),
        ("HTTP/1.1 -20 OK", 0, "1.1"),
    ],
)
def test_the_status_line_tells_status_and_version(line: str, status: int, version: str) -> None:
    head = parsed(line, "", "")
    assert (head.status, head.version, head.fields) == (status, version, {})


def test_fields_are_found_by_their_name_in_lower_case() -> None:
    head = parsed("HTTP/1.1 200 OK", 'ETag:\t "v1" ', "X-Empty:", "no field", "")
    assert head.get("etag") == '"v1"'
    assert head.get("x-empty") == ""
    assert head.get("no field") is None
    assert head.get("absent") is None


def test_of_repeated_fields_the_first_counts() -> None:
    assert parsed("HTTP/1.1 200 OK", "Location: /a", "LOCATION: /b").get("location") == "/a"


def test_what_came_before_the_last_status_line_is_forgotten() -> None:
    head = parsed("HTTP/1.1 103 Early Hints", "Link: </a>", "", "HTTP/1.1 200 OK", "ETag: x", "")
    assert head.status == 200
    assert head.fields == {"etag": "x"}


def test_bytes_outside_ascii_are_kept_as_latin_1() -> None:
    value = parsed("HTTP/1.1 302 Found", "Location: /é".encode()).get("location")
    assert value is not None
    assert value.encode("latin-1") == "/é".encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("image/jpeg", "image/jpeg"),
        ("Image/JPEG; charset=binary", "image/jpeg"),
        (" ; x=y", None),
    ],
)
def test_a_content_type_is_bare_and_in_lower_case(value: str | None, expected: str | None) -> None:
    assert Head(200, "1.1", {} if value is None else {"content-type": value}).content_type == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0),
        ("12", 12),
        ("+1", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("12, 12", 12),
        ("12,12 ,\t12", 12),
        ("12, 13", None),
        ("12,", None),
        (", 12", None),
        (",", None),
        ("x, x", None),
        ("٣", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("9" * 5000, None),
    ],
)
def test_a_content_length_is_a_plain_number_or_nothing(value: str | None, expected: int | None) -> None:
    assert Head(200, "1.1", {} if value is None else {"content-length": value}).content_length == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("Identity", False),
        ("gzip", True),
        ("X-GZip", True),
        ("deflate", True),
        ("x-compress", True),
        (" br ", True),
        ("zstd", True),
        ("dcb", True),
        ("dcz", True),
        # What is no content coding says nothing of the bytes.
        ("aws-chunked", False),
        ("none", False),
        ("UTF-8", False),
        ("binary", False),
        ("8bit", False),
        ("x-", False),
        ("aws-chunked,", False),
        ("identity, aws-chunked", False),
        ("aws-chunked, gzip", True),
        ("gzip,aws-chunked", True),
    ],
)
def test_an_encoding_that_is_to_be_undone_is_noticed(value: str | None, expected: bool) -> None:
    assert Head(200, "1.1", {} if value is None else {"content-encoding": value}).encoded is expected


@given(st.lists(st.binary(max_size=40)))
def test_no_header_lines_break_the_parser(lines: list[bytes]) -> None:
    head = Head.parse([b"HTTP/1.1 200 OK\r\n", *lines])
    assert head.status >= 0
    assert head.content_length is None or head.content_length >= 0
    assert head.content_type != ""
    assert all(name == name.lower() for name in head.fields)
