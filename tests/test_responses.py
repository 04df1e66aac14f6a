"""Header lines become a head: leniently, fields of one name as one list, the last status line counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.grammar import members
from downloader.responses import _LINES, REPEATED, Field, Head, codings


def parsed(*lines: str | bytes) -> Head:
    return Head.parse([line if isinstance(line, bytes) else line.encode("latin-1") + b"\r\n" for line in lines])


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
        ("HTTP/1.1  404 Not Found", 404, "1.1"),
        ("HTTP/1.1\t404\tNot Found", 404, "1.1"),
        ("HTTP/1.1 ²00 OK", 0, "1.1"),
        ("HTTP/1.1 200\xa0OK", 0, "1.1"),
    ],
)
def test_the_status_line_tells_status_and_version(line: str, status: int, version: str) -> None:
    head = parsed(line, "", "")
    assert (head.status, head.version, head.fields) == (status, version, {})


@pytest.mark.parametrize(
    "line",
    [
        'ETag: "v1"',
        'etag: "v1"',
        'ETAG:"v1"',
        'eTaG:\t "v1" \t',
        'ETag : "v1"',
        'ETag\t: "v1"',
        b'ETag: "v1"\n',
        b'etag: "v1"',
    ],
)
def test_a_field_is_found_however_its_name_is_spelt(line: str | bytes) -> None:
    assert parsed("HTTP/1.1 200 OK", line, "").fields == {"etag": '"v1"'}


def test_spellings_that_were_not_seen_before_are_understood_however_many_came() -> None:
    for number in range(2000):
        assert parsed("HTTP/1.1 200 OK", f"X-{number}: x", "").fields == {}
    spelt = ("eTAG", "ETAg", "EtAG", " ETag", "x" * 1000)
    assert [parsed("HTTP/1.1 200 OK", f"{name}: x").get("etag") for name in spelt] == ["x", "x", "x", None, None]


def test_what_is_remembered_of_lines_is_bounded() -> None:
    for number in range(2000):
        parsed("HTTP/1.1 200 OK", f"Retry-After: {number}", f"X-{number}: " + "x" * number, f"ETag: {number}", "")
        assert len(_LINES) <= _LINES.most
    assert max(map(len, _LINES)) <= _LINES.longest
    assert not any(line.startswith(b"ETag") for line in _LINES)


@pytest.mark.parametrize(
    "line", ["no field", "ETag", "ETag:", "ETag: \t", "X-ETag: x", "ETag-X: x", "ET ag: x", ": x", ""]
)
def test_what_is_no_field_that_is_read_or_has_no_value_is_dropped(line: str) -> None:
    assert parsed("HTTP/1.1 200 OK", line, "Server: x", "").fields == {}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        # Lists are one list (RFC 9110 section 5.3).
        ("content-encoding", ["gzip", "br"], "gzip, br"),
        ("content-encoding", ["", "gzip"], "gzip"),
        ("content-encoding", ["gzip", ""], "gzip"),
        ("content-encoding", ["identity", "", "gzip"], "identity, gzip"),
        ("transfer-encoding", ["gzip", "chunked"], "gzip, chunked"),
        ("transfer-encoding", ["", " "], None),
        ("connection", ["keep-alive", "close"], "keep-alive, close"),
        ("accept-ranges", ["none", "none"], "none, none"),
        ("content-length", ["5", "5"], "5, 5"),
        ("content-length", ["5", "6"], "5, 6"),
        # A proof that contradicts itself is none.
        ("etag", ['"a"', '"a"'], '"a"'),
        ("etag", ['"a"', '"b"'], None),
        ("etag", ['"a"', '"b"', '"a"'], None),
        ("etag", ['"a"', 'W/"a"'], None),
        ("etag", ["", '"a"', ""], '"a"'),
        ("last-modified", ["Wed, 01 May 2024 12:00:00 GMT"] * 2, "Wed, 01 May 2024 12:00:00 GMT"),
        ("last-modified", ["Wed, 01 May 2024 12:00:00 GMT", "Wed, 01 May 2024 12:00:01 GMT"], None),
        ("content-range", ["bytes 0-4/5", "bytes 0-4/5"], "bytes 0-4/5"),
        ("content-range", ["bytes 0-4/5", "bytes 0-4/6"], None),
        ("location", ["/a", "/a"], "/a"),
        ("location", ["", "/a"], "/a"),
        ("location", ["/a", "/b"], None),
        # The last type that is one.
        ("content-type", ["text/html", "image/jpeg"], "image/jpeg"),
        ("content-type", ["", "image/jpeg"], "image/jpeg"),
        ("content-type", ["image/jpeg", ""], "image/jpeg"),
        ("content-type", ["image/jpeg; a=b", "*/*"], "image/jpeg; a=b"),
        ("content-type", ["image/jpeg", "jpeg"], "image/jpeg"),
        ("content-type", ["*/*", "*/*;q=1"], "*/*"),
        ("content-type", ["jpeg", "jpg"], "jpeg"),
        # The first name.
        ("content-disposition", ["inline", "attachment; filename=a.jpg"], "attachment; filename=a.jpg"),
        ("content-disposition", ["inline; filename=a.jpg", "inline; filename=b.jpg"], "inline; filename=a.jpg"),
        ("content-disposition", ["", "inline; filename=b.jpg", "inline"], "inline; filename=b.jpg"),
        ("content-disposition", ["inline; filename=..", "inline"], "inline; filename=.."),
        # The earliest date.
        ("date", ["Wed, 01 May 2024 12:00:09 GMT", "Wed, 01 May 2024 12:00:00 GMT"], "Wed, 01 May 2024 12:00:00 GMT"),
        ("date", ["today", "Wed, 01 May 2024 12:00:00 GMT"], "Wed, 01 May 2024 12:00:00 GMT"),
        ("date", ["today", "tomorrow"], None),
        # All of them: the longest wait is found where it is known what time it is.
        ("retry-after", ["1", "Wed, 01 May 2024 12:00:00 GMT", "3"], "1, Wed, 01 May 2024 12:00:00 GMT, 3"),
    ],
)
def test_what_counts_of_fields_of_one_name(name: Field, values: list[str], expected: str | None) -> None:
    head = parsed("HTTP/1.1 200 OK", "Server: x", *(f"{name}: {value}" for value in values), "X-Last: y", "")
    assert head.get(name) == expected
    assert (name in head.fields) is (expected is not None)


def test_of_fields_without_end_the_first_are_read() -> None:
    head = parsed("HTTP/1.1 200 OK", *["Content-Encoding: x"] * 5000, "ETag: a", "ETag: b")
    assert head.fields == {"content-encoding": ", ".join(["x"] * (REPEATED + 1)), "etag": "a"}


@given(
    st.permutations(["ETag: a", "ETag: b", "ETAG:", "ETag: a", "Server: x"]),
    st.permutations(["Content-Encoding: br", "content-encoding:", "CONTENT-ENCODING: gzip"]),
)
def test_the_order_of_fields_matters_within_one_name_only(tags: list[str], encodings: list[str]) -> None:
    head = parsed("HTTP/1.1 200 OK", *tags, *encodings)
    assert head.get("etag") is None
    assert head.get("content-encoding") == ", ".join(text for line in encodings if (text := line.partition(": ")[2]))
    assert head == parsed("HTTP/1.1 200 OK", *encodings, *tags)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Content-Type: image/svg+xml;", " charset=utf-8"], {"content-type": "image/svg+xml; charset=utf-8"}),
        (["ETag:", '\t "a"  ', "  "], {"etag": '"a"'}),
        (["Content-Encoding: gzip,", " br", "Content-Encoding:", "\tzstd"], {"content-encoding": "gzip, br, zstd"}),
        # It is no field of its own, whatever it looks like.
        (["X-Note: a", " Content-Encoding: gzip", "ETag: b"], {"etag": "b"}),
        ([" ETag: a", "ETag: b"], {"etag": "b"}),
        (["ETag: a", " ", "\t", "Location: /b"], {"etag": "a", "location": "/b"}),
    ],
)
def test_a_line_that_begins_with_a_blank_continues_the_one_before(lines: list[str], expected: dict[str, str]) -> None:
    head = parsed("HTTP/1.1 200 OK", *lines, "")
    assert (head.status, head.fields) == (200, expected)


def test_what_came_before_the_last_status_line_is_forgotten() -> None:
    first = ("HTTP/1.1 103 Early Hints", "Location: /a", "ETag: y", "ETag: z", " folded", "")
    head = parsed(*first, "HTTP/1.1 200 OK", "ETag: x", "")
    assert head.status == 200
    assert head.fields == {"etag": "x"}


def test_bytes_outside_ascii_are_kept_as_latin_1() -> None:
    value = parsed("HTTP/1.1 302 Found", "Location: /é".encode()).get("location")
    assert value is not None
    assert value.encode("latin-1") == "/é".encode()


@pytest.mark.parametrize("end", ["voilà", "х", "\u0160", "\xa0", "\u2003"])
def test_bytes_a0_and_85_are_no_blanks(end: str) -> None:
    sent = end.encode()
    assert sent[-1] in b"\x85\xa0\x83"
    value = parsed("HTTP/1.1 302 Found", b"Location: \t " + sent + b" \t\r\n").get("location")
    assert value is not None
    assert value.encode("latin-1") == sent


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("image/jpeg", "image/jpeg"),
        ("Image/JPEG; charset=binary", "image/jpeg"),
        ("image/jpeg\t;", "image/jpeg"),
        (" ; x=y", None),
        ("jpeg", None),
        ("image/", None),
        ("image/jpeg/x", None),
        ("image/jp eg", None),
        ("image/jpeg\xa0", None),
        ("*/*", "*/*"),
        # As proxies join several.
        ("image/jpeg, image/jpeg", "image/jpeg"),
        ("text/html; charset=utf-8, image/jpeg", "image/jpeg"),
        ("image/jpeg,*/*;q=0.1", "image/jpeg"),
        ("*/*, image/jpeg", "image/jpeg"),
        ("image/jpeg; name=a,b.jpg", "image/jpeg"),
        ('image/jpeg; name="a, text/html"', "image/jpeg"),
        (r'image/jpeg; name="a\", text/html', "image/jpeg"),
        (", ,image/jpeg,", "image/jpeg"),
        ("image/jpeg;" + "x" * 100_000 + ", text/html", "image/jpeg"),
        ("x" * 100_000, None),
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
        ("12, 12, 13", None),
        ("12, 012", None),
        ("12,12,", None),
        ("12,\xa012", None),
        ("1_2", None),
        ("12,", None),
        (", 12", None),
        (",", None),
        ("x, x", None),
        ("٣", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("9" * 5000, None),
        ("0" * 18 + "5", 5),
        ("0" * 40 + "9" * 18, 10**18 - 1),
        ("0" * 40 + "9" * 19, None),
        ("0" * 19, 0),
        ("0" * 40 + "12," + "0" * 40 + "12", 12),
        ("0" * 20 + "\xa05", None),
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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        (" , ,\t,", []),
        ("gzip", ["gzip"]),
        (", GZip ,,x-br,", ["gzip", "br"]),
        ("gzip;q=1.0, br ; q=0.5", ["gzip", "br"]),
        ("gzip\xa0, \x85br", ["gzip\xa0", "\x85br"]),
        ('"gzip"', ["gzip"]),
        ("'X-GZip'", ["gzip"]),
        ('"gzip;q=1", "br"', ["gzip", "br"]),
        ('"gzip, br"', ["gzip", "br"]),
        ("gzip br", ["gzip", "br"]),
        ("gzip\x0b,\x1fbr\x7f", ["gzip", "br"]),
        ("application/gzip", ["application/gzip"]),
        ('""', []),
    ],
)
def test_codings_are_a_list_without_empty_members_parameters_and_what_no_token_has(
    value: str, expected: list[str]
) -> None:
    assert codings(value) == expected


@pytest.mark.parametrize(
    ("version", "value", "expected"),
    [
        ("1.1", None, True),
        ("1.1", "keep-alive", True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "keep-alive,CLOSE ,", False),
        ("1.1", "x-close", True),
        ("1.1", "closed, not-close", True),
        ("1.1", "close\xa0", True),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.0", "keep-alive\xa0", False),
        ("2", None, False),
    ],
)
def test_close_is_a_token_of_connection(version: str, value: str | None, expected: bool) -> None:
    fields = {"content-length": "5"} | ({} if value is None else {"connection": value})
    assert Head(200, version, fields).keeps_connection is expected


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (200, {}, False),
        (404, {}, False),
        (204, {}, True),
        (304, {}, True),
        (200, {"transfer-encoding": "chunked"}, True),
        (200, {"transfer-encoding": "identity", "content-length": "5"}, False),
        (200, {"connection": "keep-alive"}, False),
        (200, {"content-length": "5", "proxy-connection": "keep-alive"}, True),
        (200, {"content-length": "5", "proxy-connection": "Close"}, False),
    ],
)
def test_a_body_of_unknown_length_and_a_proxy_that_closes_take_the_connection_with_them(
    status: int, fields: dict[str, str], expected: bool
) -> None:
    assert Head(status, "1.1", fields).keeps_connection is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("bytes", True),
        ("Bytes", True),
        ("bytes, bytes", True),
        ("seconds , bytes", True),
        ("none", False),
        ("none, none", False),
        ("bytes, None", False),
        ("seconds", None),
        ("megabytes", None),
        (",", None),
    ],
)
def test_accept_ranges_is_a_list_of_units(value: str | None, expected: bool | None) -> None:
    assert Head(200, "1.1", {} if value is None else {"accept-ranges": value}).takes_ranges is expected


@given(st.lists(st.text(st.characters(codec="latin-1"))))
def test_members_of_a_list_are_never_empty(texts: list[str]) -> None:
    found = members(", ".join(texts))
    assert all(member and member == member.lower() and member[0] not in " \t" for member in found)


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b" a", b"\t", b"", b"\r\n", b"ETag: a", b"ETag: b", b"HTTP/"]))
)
def test_no_header_lines_break_the_parser(lines: list[bytes]) -> None:
    head = Head.parse([b"HTTP/1.1 200 OK\r\n", *lines])
    assert head.status >= 0
    assert head.content_length is None or head.content_length >= 0
    assert head.content_type != ""
    assert all(name == name.lower() for name in head.fields)
