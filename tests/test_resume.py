"""A part is continued only where the answer proves that it is of the same file; a damaged state is none."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downloader import errors, resume, spans, verdict
from downloader.items import Checksum
from downloader.options import Options
from downloader.responses import Head
from downloader.resume import (
    LARGEST_STATE,
    LONGEST_VALIDATOR,
    MOST_BYTES,
    OVERLAP,
    RESUME_FROM,
    Ask,
    Plan,
    Range,
    State,
)
from downloader.verdict import Continue, Redirect, Save, Unfit

NOW = 1_700_000_000.0
DATE = "Wed, 01 May 2024 12:00:00 GMT"
HOUR_BEFORE = "Wed, 01 May 2024 11:00:00 GMT"
MINUTE_BEFORE = "Wed, 01 May 2024 11:59:00 GMT"
SECONDS_BEFORE = "Wed, 01 May 2024 11:59:01 GMT"

URL = "https://h/a.mp4"
MIRROR = "https://mirror/a.mp4"
MIB = 1024 * 1024
TOTAL = 10 * MIB
PROMISED = Checksum("sha256", "a" * 64)
OTHER = Checksum("sha256", "b" * 64)


def head(status: int = 206, **fields: str | None) -> Head:
    return Head(status, "1.1", {name.replace("_", "-"): value for name, value in fields.items() if value is not None})


def state(**changes: Any) -> State:
    about: dict[str, Any] = {
        "url": URL,
        "total": TOTAL,
        "etag": '"v1"',
        "done": [(0, 2 * MIB)],
        "boot": "now",
        "inode": 7,
        "answered": URL,
    }
    return State(**{**about, **changes})


# What of a part may be built upon


@pytest.mark.parametrize(
    ("changes", "url", "checksum"),
    [
        ({}, URL, None),
        ({"etag": None, "last_modified": HOUR_BEFORE}, URL, None),
        ({"last_modified": HOUR_BEFORE}, URL, None),
        ({"boot": "before", "synced": True}, URL, None),
        ({"checksum": str(PROMISED)}, URL, None),
        ({"checksum": str(PROMISED)}, URL, PROMISED),
        ({"checksum": str(PROMISED), "etag": None}, URL, PROMISED),
        ({"checksum": str(PROMISED)}, MIRROR, PROMISED),
        ({"checksum": str(PROMISED), "etag": None}, MIRROR, PROMISED),
        ({}, MIRROR, PROMISED),
        ({"published": True}, URL, None),
        ({"done": [(0, RESUME_FROM)]}, URL, None),
        ({"done": [(5 * MIB, 6 * MIB)]}, URL, None),
        ({"total": RESUME_FROM + 1, "done": [(0, RESUME_FROM)]}, URL, None),
    ],
)
def test_a_part_is_built_upon_where_something_can_prove_it(
    changes: dict[str, Any], url: str, checksum: Checksum | None
) -> None:
    found = state(**changes)
    assert resume.trusted(found, url=url, checksum=checksum, boot="now") == found.done


@pytest.mark.parametrize(
    ("changes", "url", "checksum"),
    [
        ({"etag": None}, URL, None),
        ({"etag": None}, URL, PROMISED),
        ({"etag": None, "checksum": str(PROMISED)}, URL, None),
        ({}, MIRROR, None),
        ({"checksum": str(PROMISED)}, MIRROR, None),
        ({"checksum": str(OTHER)}, URL, PROMISED),
        ({"checksum": str(OTHER)}, MIRROR, PROMISED),
        ({"boot": "before"}, URL, None),
        ({"boot": ""}, URL, None),
        ({"boot": "before", "checksum": str(PROMISED)}, URL, PROMISED),
        ({"total": None}, URL, None),
        ({"total": RESUME_FROM - 1, "done": [(0, RESUME_FROM - 1)]}, URL, None),
        ({"done": []}, URL, None),
        ({"done": [(0, RESUME_FROM - 1)]}, URL, None),
        ({"done": [(0, 1), (2, RESUME_FROM)]}, URL, None),
    ],
)
def test_anything_else_is_begun_again(changes: dict[str, Any], url: str, checksum: Checksum | None) -> None:
    assert resume.trusted(state(**changes), url=url, checksum=checksum, boot="now") == []
    assert resume.plan(state(**changes), url=url, checksum=checksum, boot="now") is None


@pytest.mark.parametrize(
    ("done", "asked"),
    [
        ([(0, 2 * MIB)], (2 * MIB, TOTAL)),
        ([(0, TOTAL - 1)], (TOTAL - 1, TOTAL)),
        ([(MIB, 3 * MIB)], (0, MIB)),
        ([(0, MIB), (2 * MIB, TOTAL)], (MIB, 2 * MIB)),
        ([(0, MIB), (2 * MIB, 3 * MIB)], (MIB, 2 * MIB)),
        ([(MIB, TOTAL)], (0, MIB)),
    ],
)
def test_the_first_range_that_is_missing_is_asked_for(done: list[spans.Span], asked: spans.Span) -> None:
    found = state(done=done)
    assert resume.plan(found, url=URL, checksum=None, boot="now") == Plan(done, Ask(*asked, TOTAL, '"v1"'))


def test_of_a_part_that_is_complete_the_last_byte_is_asked_for_again() -> None:
    found = state(done=[(0, TOTAL)])
    plan = resume.plan(found, url=URL, checksum=None, boot="now")
    assert plan == Plan([(0, TOTAL - 1)], Ask(TOTAL - 1, TOTAL, TOTAL, '"v1"'))
    assert found.done == [(0, TOTAL)], "what is known of the part is as it was"


def test_a_plan_does_not_share_its_ranges_with_the_state() -> None:
    found = state()
    plan = resume.plan(found, url=URL, checksum=None, boot="now")
    assert plan is not None
    plan.done.append((5 * MIB, 6 * MIB))
    assert found.done == [(0, 2 * MIB)]


@pytest.mark.parametrize(
    ("changes", "url", "headers"),
    [
        ({}, URL, {"Range": "bytes=5-9", "If-Range": '"v1"'}),
        ({"last_modified": HOUR_BEFORE}, URL, {"Range": "bytes=5-9", "If-Range": '"v1"'}),
        ({"etag": None, "last_modified": HOUR_BEFORE}, URL, {"Range": "bytes=5-9", "If-Range": HOUR_BEFORE}),
        ({"etag": None}, URL, {"Range": "bytes=5-9"}),
        ({"last_modified": HOUR_BEFORE}, MIRROR, {"Range": "bytes=5-9"}),
    ],
)
def test_a_range_is_asked_for_with_the_best_validator_of_the_same_server(
    changes: dict[str, Any], url: str, headers: dict[str, str]
) -> None:
    asked = resume.ask(state(**changes), (5, 10), url=url)
    assert dict(asked.headers) == headers
    assert (asked.start, asked.end, asked.total) == (5, 10, TOTAL)


# What is remembered of a response


@pytest.mark.parametrize(
    ("fields", "etag", "last_modified"),
    [
        ({"etag": '"v1"'}, '"v1"', None),
        ({"etag": '"v1"', "accept_ranges": "bytes"}, '"v1"', None),
        ({"etag": '"v1"', "last_modified": HOUR_BEFORE, "date": DATE}, '"v1"', HOUR_BEFORE),
        ({"etag": 'W/"v1"', "last_modified": HOUR_BEFORE, "date": DATE}, None, HOUR_BEFORE),
        ({"last_modified": MINUTE_BEFORE, "date": DATE}, None, MINUTE_BEFORE),
        ({}, None, None),
        ({"etag": 'W/"v1"'}, None, None),
        ({"etag": 'w/"v1"'}, None, None),
        ({"etag": "v1"}, None, None),
        ({"etag": '"v1'}, None, None),
        ({"etag": '""'}, None, None),
        ({"etag": '"'}, None, None),
        ({"etag": ""}, None, None),
        ({"last_modified": SECONDS_BEFORE, "date": DATE}, None, None),
        ({"last_modified": HOUR_BEFORE}, None, None),
        ({"last_modified": HOUR_BEFORE, "date": "today"}, None, None),
        ({"last_modified": "long ago", "date": DATE}, None, None),
        ({"last_modified": DATE, "date": HOUR_BEFORE}, None, None),
        ({"etag": '"é"'}, None, None),
        ({"etag": '"a\tb"'}, None, None),
        ({"etag": '"a\x7fb"'}, None, None),
        ({"etag": '"a b"'}, '"a b"', None),
        ({"etag": '"' + "v" * LONGEST_VALIDATOR + '"'}, None, None),
        ({"etag": '"v1"', "accept_ranges": "none"}, None, None),
        ({"etag": '"v1"', "accept_ranges": "none, None"}, None, None),
        ({"etag": '"v1"', "accept_ranges": "bytes, bytes"}, '"v1"', None),
        # Several that a proxy has joined are none.
        ({"etag": '"v1", "v1"'}, None, None),
        ({"etag": '"v1","v2"'}, None, None),
        ({"last_modified": HOUR_BEFORE, "date": DATE, "accept_ranges": "None"}, None, None),
    ],
)
def test_only_validators_that_change_with_every_byte_are_remembered(
    fields: dict[str, str], etag: str | None, last_modified: str | None
) -> None:
    found = resume.remember(head(200, **fields), url=URL, answered=URL, total=TOTAL, checksum=None, boot="now")
    assert found == State(URL, TOTAL, etag, last_modified, boot="now", answered=URL)
    assert found.continuable is bool(etag or last_modified)
    assert not found.worth_keeping, "nothing is there yet"


def test_a_checksum_proves_a_file_that_no_validator_does() -> None:
    found = resume.remember(head(200), url=URL, answered=URL, total=TOTAL, checksum=PROMISED, boot="now")
    assert found.checksum == "sha256:" + "a" * 64
    assert found.continuable


@pytest.mark.parametrize("total", [None, 0, RESUME_FROM - 1, RESUME_FROM])
def test_a_file_of_little_or_unknown_length_is_not_worth_continuing(total: int | None) -> None:
    fields = {"etag": '"v1"', "last_modified": HOUR_BEFORE, "date": DATE}
    found = resume.remember(head(200, **fields), url=URL, answered=URL, total=total, checksum=PROMISED, boot="now")
    assert found.total == total
    assert found.continuable is (total == RESUME_FROM)
    if total is None:
        assert found.etag is found.last_modified is None


# Whether an answer fits

ASKED = Ask(2 * MIB, TOTAL, TOTAL, '"v1"')
BY_DATE = Ask(2 * MIB, TOTAL, TOTAL, None, HOUR_BEFORE)
BY_BOTH = Ask(2 * MIB, TOTAL, TOTAL, '"v1"', HOUR_BEFORE)
BY_NONE = Ask(2 * MIB, TOTAL, TOTAL)
FITTING = {"content_range": f"bytes {2 * MIB}-{TOTAL - 1}/{TOTAL}"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-0/1", Range(0, 1, 1)),
        ("bytes 5-9/100", Range(5, 10, 100)),
        ("Bytes  5-9/100", Range(5, 10, 100)),
        (" bytes 5-9/100 ", Range(5, 10, 100)),
        ("bytes 5-9/100\xa0", None),
        ("bytes\xa05-9/100", None),
        ("byte\u017f 5-9/100", None),
        ("bytes 5-9/100, bytes 5-9/100", None),
        ("bytes\t5-9/100", Range(5, 10, 100)),
        ("bytes 005-009/0100", Range(5, 10, 100)),
        (None, None),
        ("", None),
        ("bytes", None),
        ("bytes */100", None),
        ("bytes 5-9/*", None),
        ("bytes 9-5/100", None),
        ("bytes 5-100/100", None),
        ("bytes 5-9/9", None),
        ("bytes -5-9/100", None),
        ("bytes 5-/100", None),
        ("bytes 5 - 9/100", None),
        ("bytes=5-9/100", None),
        ("bytes 5-9/100, 10-19/100", None),
        ("bytes 5-9", None),
        ("items 5-9/100", None),
        ("bytes 0x5-9/100", None),
        ("bytes ٥-٩/100", None),
        ("bytes 5-9/" + "9" * 19, None),
        ("5-9/100", None),
    ],
)
def test_a_content_range_is_read_strictly(value: str | None, expected: Range | None) -> None:
    assert resume.content_range(head(content_range=value)) == expected
    multipart = head(content_range=value, content_type='Multipart/ByteRanges; boundary="x"')
    assert resume.content_range(multipart) is None


@given(st.text(max_size=40) | st.from_regex(r"bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20}|\*)", fullmatch=True))
def test_no_content_range_makes_a_range_without_sense(value: str) -> None:
    found = resume.content_range(head(content_range=value))
    assert found is None or 0 <= found.start < found.end <= found.total


@pytest.mark.parametrize(
    ("ask", "fields"),
    [
        (ASKED, {"etag": '"v1"'}),
        (ASKED, {"etag": '"v1"', "content_length": str(TOTAL - 2 * MIB)}),
        (ASKED, {"etag": '"v1"', "content_encoding": "identity"}),
        (ASKED, {"etag": '"v1"', "content_range": f"bytes {2 * MIB}-{2 * MIB + 65535}/{TOTAL}"}),
        (ASKED, {"etag": '"v1"', "last_modified": DATE}),
        (BY_DATE, {"last_modified": HOUR_BEFORE}),
        (BY_DATE, {"last_modified": HOUR_BEFORE, "etag": 'W/"any"'}),
        (BY_BOTH, {"etag": '"v1"'}),
        (BY_BOTH, {"last_modified": HOUR_BEFORE}),
        (BY_NONE, {}),
        (BY_NONE, {"etag": '"of the mirror"', "last_modified": DATE}),
    ],
)
def test_a_206_that_fits_continues_the_part(ask: Ask, fields: dict[str, str]) -> None:
    response = head(206, **{**FITTING, **fields})
    assert resume.misfit(response, ask) is None
    found = resume.content_range(response)
    assert found is not None
    expected = Continue(found.start, found.end, found.total)
    assert verdict.decide(response, Options(), now=NOW, ask=ask) == expected


@pytest.mark.parametrize(
    ("ask", "fields", "reason"),
    [
        (ASKED, {"content_range": None}, "Content-Range"),
        (ASKED, {"content_range": f"bytes */{TOTAL}"}, "Content-Range"),
        (ASKED, {"content_type": "multipart/byteranges; boundary=x"}, "Content-Range"),
        (ASKED, {"content_range": f"bytes {2 * MIB}-{TOTAL - 1}/{TOTAL + 1}"}, "10,485,761 bytes now"),
        (ASKED, {"content_range": f"bytes {2 * MIB}-{TOTAL - 2}/{TOTAL - 1}"}, "10,485,759 bytes now"),
        (ASKED, {"content_range": f"bytes {2 * MIB - 1}-{TOTAL - 1}/{TOTAL}"}, "asked for were"),
        (ASKED, {"content_range": f"bytes {2 * MIB + 1}-{TOTAL - 1}/{TOTAL}"}, "asked for were"),
        (ASKED, {"content_range": f"bytes 0-{TOTAL - 1}/{TOTAL}"}, "asked for were"),
        (ASKED._replace(end=3 * MIB), {}, "asked for were"),
        (ASKED, {"content_encoding": "gzip"}, "encoded"),
        (ASKED, {"content_length": str(TOTAL - 2 * MIB - 1)}, "length"),
        (ASKED, {"content_length": str(TOTAL - 2 * MIB + 1)}, "length"),
        (ASKED, {"etag": '"v2"'}, "ETag"),
        (ASKED, {"etag": 'W/"v1"'}, "ETag"),
        (ASKED, {"etag": '"V1"'}, "ETag"),
        (ASKED, {"etag": None}, "ETag"),
        (ASKED, {"etag": None, "last_modified": HOUR_BEFORE}, "ETag"),
        (BY_BOTH, {"etag": '"v2"', "last_modified": HOUR_BEFORE}, "ETag"),
        (BY_BOTH, {"etag": None, "last_modified": DATE}, "ETag"),
        (BY_BOTH, {"etag": None}, "ETag"),
        (BY_DATE, {"last_modified": DATE}, "Last-Modified"),
        (BY_DATE, {"last_modified": None}, "Last-Modified"),
        (BY_DATE, {"last_modified": None, "etag": '"v1"'}, "Last-Modified"),
        (BY_NONE, {"content_range": f"bytes 0-{TOTAL - 1}/{TOTAL}"}, "asked for were"),
    ],
)
def test_a_206_that_does_not_fit_has_its_reason(ask: Ask, fields: dict[str, str | None], reason: str) -> None:
    response = head(206, **{**FITTING, "etag": '"v1"', **fields})
    assert reason in (resume.misfit(response, ask) or "")
    answer = verdict.decide(response, Options(), now=NOW, ask=ask)
    assert isinstance(answer, Unfit)
    assert reason in answer.reason


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (200, {"content_length": str(TOTAL)}, Save),
        (200, {"etag": '"v1"', "content_length": str(TOTAL)}, Save),
        (200, {"content_range": f"bytes 0-{TOTAL - 1}/{TOTAL}", "content_length": str(TOTAL)}, Save),
        (200, {"content_range": f"bytes 0-{TOTAL - 1}/{TOTAL}"}, Unfit),
        (200, {"content_range": f"bytes 0-{TOTAL}/{TOTAL + 1}", "content_length": str(TOTAL + 1)}, Save),
        (200, {"etag": '"v2"', "content_length": str(TOTAL - 1)}, Save),
        (200, {"etag": '"v1"', "content_length": str(TOTAL - 1), "content_encoding": "gzip"}, Unfit),
        (200, {"etag": 'W/"v1"', "content_length": "5000"}, Save),
        (200, {"etag": '"v1"'}, Unfit),
        (200, {"content_length": str(TOTAL), "transfer_encoding": "chunked"}, Unfit),
        (203, {"content_length": str(TOTAL)}, Save),
        (203, {}, Unfit),
        (302, {"location": "/b"}, Redirect),
        (416, {"content_range": f"bytes */{TOTAL}"}, Unfit),
        (416, {}, Unfit),
        (404, {}, errors.StatusError),
        (412, {}, errors.StatusError),
        (503, {}, errors.StatusError),
        (204, {}, errors.StatusError),
    ],
)
def test_no_other_answer_continues_a_part(status: int, fields: dict[str, str], expected: type) -> None:
    assert type(verdict.decide(head(status, **fields), Options(), now=NOW, ask=ASKED)) is expected


def test_a_range_of_a_file_that_has_outgrown_its_bounds_is_refused() -> None:
    response = head(206, **FITTING, etag='"v1"')
    for options in (Options(max_size=TOTAL - 1), Options(min_size=TOTAL + 1)):
        assert isinstance(verdict.decide(response, options, now=NOW, ask=ASKED), errors.SizeError)
    options = Options(min_size=TOTAL, max_size=TOTAL)
    assert isinstance(verdict.decide(response, options, now=NOW, ask=ASKED), Continue)


@pytest.mark.parametrize("status", [200, 203])
@pytest.mark.parametrize(
    ("ask", "fields", "reason"),
    [
        (ASKED, {"content_range": f"bytes {2 * MIB}-{TOTAL - 1}/{TOTAL}"}, "Content-Range"),
        (ASKED, {"content_range": f"bytes {2 * MIB}-{TOTAL - 1}/*"}, "Content-Range"),
        (ASKED, {"content_range": f"bytes 0-{TOTAL - 2}/{TOTAL}"}, "Content-Range"),
        (ASKED, {"content_range": "bytes", "content_length": str(TOTAL)}, "Content-Range"),
        (ASKED, {"content_range": f"bytes 0-{MIB}/{TOTAL}", "content_encoding": "gzip"}, "Content-Range"),
        (ASKED, {"content_length": str(TOTAL - 2 * MIB)}, "as long as the range"),
        (ASKED, {"content_length": str(TOTAL - 2 * MIB), "etag": '"v2"'}, "as long as the range"),
        (BY_NONE, {"content_length": str(TOTAL - 2 * MIB)}, "as long as the range"),
        (ASKED._replace(end=3 * MIB), {"content_length": str(MIB)}, "as long as the range"),
        (ASKED, {"content_length": "5000", "etag": '"v1"'}, "5,000 bytes of the 10,485,760"),
        (ASKED, {"content_length": str(TOTAL + 1), "etag": '"v1"'}, "10,485,761 bytes"),
        (BY_DATE, {"content_length": "5000", "last_modified": HOUR_BEFORE}, "5,000 bytes"),
        (BY_BOTH, {"content_length": "5000", "last_modified": HOUR_BEFORE}, "5,000 bytes"),
    ],
)
def test_a_200_that_is_not_all_of_the_file_is_asked_for_again(
    status: int, ask: Ask, fields: dict[str, str], reason: str
) -> None:
    answer = verdict.decide(head(status, **fields), Options(), now=NOW, ask=ask)
    assert isinstance(answer, Unfit)
    assert f"({status}) is not all of the file" in answer.reason
    assert reason in answer.reason
    assert isinstance(verdict.decide(head(status, **fields), Options(), now=NOW), Save), (
        "what comes then is judged by itself"
    )


# Which resource answers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, URL),
        (f"{URL}?Expires=1&Signature=2", URL),
        (f"{URL}?a=1?b=2", URL),
        ("https://h/a/?x", "https://h/a/"),
    ],
)
def test_a_resource_is_known_without_its_query(url: str, expected: str) -> None:
    assert resume.resource(url) == expected


ELSEWHERE = "https://replica.test/clip.mp4?token=2"


@pytest.mark.parametrize(
    ("known", "address", "done", "start", "overlap"),
    [
        (URL, URL, [(0, 2 * MIB)], 2 * MIB, 0),
        (URL, f"{URL}?token=2", [(0, 2 * MIB)], 2 * MIB, 0),
        (URL, ELSEWHERE, [(0, 2 * MIB)], 2 * MIB - OVERLAP, OVERLAP),
        (URL, URL.replace("https:", "http:"), [(0, 2 * MIB)], 2 * MIB - OVERLAP, OVERLAP),
        (URL, URL.upper(), [(0, 2 * MIB)], 2 * MIB - OVERLAP, OVERLAP),
        ("", URL, [(0, 2 * MIB)], 2 * MIB - OVERLAP, OVERLAP),
        (URL, ELSEWHERE, [(0, 2 * MIB), (3 * MIB, 4 * MIB)], 2 * MIB - OVERLAP, OVERLAP),
        (URL, ELSEWHERE, [(0, OVERLAP), (MIB, 4 * MIB)], 0, OVERLAP),
        (URL, ELSEWHERE, [(0, OVERLAP - 1), (MIB, 4 * MIB)], None, 0),
        (URL, URL, [(0, 5000), (MIB, 4 * MIB)], 5000, 0),
        (URL, ELSEWHERE, [(0, TOTAL)], TOTAL - 1 - OVERLAP, OVERLAP),
        (URL, ELSEWHERE, [(MIB, 4 * MIB)], None, 0),
    ],
)
def test_another_resource_is_asked_for_bytes_that_are_there(
    known: str, address: str, done: list[tuple[int, int]], start: int | None, overlap: int
) -> None:
    there = state(answered=known, done=done)
    plan = resume.plan(there, url=URL, checksum=None, boot="now")
    assert plan is not None
    sent = resume.sent_to(address, plan, there)
    assert (None if sent is None else (sent.ask.start, sent.overlap)) == (None if start is None else (start, overlap))
    if sent is not None:
        assert sent.done == plan.done
        assert sent.ask._replace(start=plan.ask.start) == plan.ask


def test_what_a_checksum_proves_is_not_compared() -> None:
    there = state(answered=ELSEWHERE, etag=None, checksum=str(PROMISED))
    plan = resume.plan(there, url="https://mirror.test/a", checksum=PROMISED, boot="now")
    assert plan is not None
    assert resume.sent_to("https://mirror.test/a", plan, there) == plan


@given(edges=st.sets(st.integers(0, TOTAL), min_size=2, max_size=8), answered=st.sampled_from([URL, ELSEWHERE, ""]))
def test_what_is_asked_for_once_more_is_there_and_next_to_what_is_missing(edges: set[int], answered: str) -> None:
    ordered = sorted(edges)
    done = list(zip(ordered[::2], ordered[1::2], strict=False))
    there = state(answered=answered, done=done)
    plan = resume.plan(there, url=URL, checksum=None, boot="now")
    if plan is None:
        return
    sent = resume.sent_to(URL, plan, there)
    if sent is None:
        before = sum(end - start for start, end in plan.done if end == plan.ask.start)
        assert answered != URL
        assert before < OVERLAP
        return
    assert sent.overlap == (0 if answered == URL else OVERLAP)
    assert sent.ask.start + sent.overlap == plan.ask.start
    there_too = [(start, end) for start, end in plan.done if start <= sent.ask.start and end == plan.ask.start]
    assert there_too or not sent.overlap


numbers = st.integers(0, 12)
etags = st.sampled_from([None, '"v1"', '"v2"', 'W/"v1"', ""])
dates = st.sampled_from([None, HOUR_BEFORE, DATE, ""])


@given(
    status=st.sampled_from([200, 203, 206, 206, 206, 206, 302, 404, 416, 503]),
    fields=st.fixed_dictionaries(
        {
            "content_range": st.builds("bytes {}-{}/{}".format, numbers, numbers, numbers) | st.none(),
            "content_length": st.none() | numbers.map(str),
            "content_encoding": st.sampled_from([None, "identity", "gzip", "br"]),
            "content_type": st.sampled_from([None, "video/mp4", "multipart/byteranges"]),
            "etag": etags,
            "last_modified": dates,
            "location": st.none() | st.just("/b"),
        }
    ),
    ask=st.builds(
        lambda start, more, rest, etag, modified: Ask(start, start + more, start + more + rest, etag, modified),
        numbers,
        st.integers(1, 9),
        numbers,
        st.sampled_from([None, '"v1"']),
        st.sampled_from([None, HOUR_BEFORE]),
    ),
)
def test_a_part_is_continued_only_where_everything_fits(status: int, fields: dict[str, str | None], ask: Ask) -> None:
    answer = verdict.decide(head(status, **fields), Options(), now=NOW, ask=ask)
    if not isinstance(answer, Continue):
        return
    assert status == 206
    assert answer.start == ask.start < answer.end <= ask.end <= answer.total == ask.total
    assert fields["content_range"] == f"bytes {answer.start}-{answer.end - 1}/{answer.total}"
    assert fields["content_length"] in (None, str(answer.end - answer.start))
    assert fields["content_encoding"] in (None, "identity")
    assert fields["content_type"] != "multipart/byteranges"
    if ask.etag is not None:
        assert fields["etag"] == ask.etag or (
            fields["etag"] is None and fields["last_modified"] == ask.last_modified is not None
        )
    elif ask.last_modified is not None:
        assert fields["last_modified"] == ask.last_modified


@pytest.mark.parametrize(
    ("fields", "changes", "expected"),
    [
        ({"etag": '"v1"'}, {}, True),
        ({"etag": '"v2"'}, {}, False),
        ({}, {}, False),
        ({"etag": '"v1"', "content_length": str(TOTAL + 1)}, {}, False),
        ({"etag": '"v1"', "content_length": None}, {}, False),
        ({"etag": '"v1"', "content_encoding": "gzip"}, {}, False),
        ({"last_modified": HOUR_BEFORE}, {"etag": None, "last_modified": HOUR_BEFORE}, True),
        ({"last_modified": DATE}, {"etag": None, "last_modified": HOUR_BEFORE}, False),
        ({}, {"etag": None, "checksum": str(PROMISED)}, True),
    ],
)
def test_a_whole_answer_tells_whether_asking_for_the_rest_pays(
    fields: dict[str, str | None], changes: dict[str, Any], expected: bool
) -> None:
    response = head(200, **{"content_length": str(TOTAL), **fields})
    assert resume.same(response, state(**changes)) is expected


# States on disk

offsets = st.integers(0, MOST_BYTES)
texts = st.text(max_size=20)
field_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@st.composite
def states(draw: st.DrawFn) -> State:
    total = draw(st.none() | st.integers(0, 3 * MIB) | offsets)
    # An even number of different offsets, in order, are spans that neither overlap nor touch.
    edges = sorted(draw(st.sets(st.integers(0, MOST_BYTES if total is None else total), max_size=8)))
    return State(
        url=draw(texts),
        total=total,
        etag=draw(st.none() | field_values),
        last_modified=draw(st.none() | field_values),
        checksum=draw(st.none() | texts),
        done=list(zip(edges[::2], edges[1::2], strict=False)),
        boot=draw(texts),
        synced=draw(st.booleans()),
        published=draw(st.booleans()),
        inode=draw(st.integers(0, 1 << 64)),
    )


def sealed(inner: object, **outer: object) -> bytes:
    """What a state file would be if `State.dump` had written ``inner``."""
    text = json.dumps(inner, separators=(",", ":"))
    return json.dumps({"gdl-part": 1, "crc32": zlib.crc32(text.encode()), "state": inner, **outer}).encode()


def sane(found: State) -> bool:
    """What every state must be, said in another way than the module does."""
    edges = [edge for span in found.done for edge in span]
    return (
        all(type(edge) is int for edge in edges)
        and all(before < after for before, after in pairwise(edges))
        and all(0 <= edge <= (MOST_BYTES if found.total is None else found.total) for edge in edges)
        and (found.total is None or (type(found.total) is int and 0 <= found.total <= MOST_BYTES))
        and all(type(span) is tuple for span in found.done)
        and all(type(flag) is bool for flag in (found.synced, found.published))
        and all(value is None or type(value) is str for value in (found.etag, found.last_modified, found.checksum))
        and all(type(value) is str for value in (found.url, found.boot))
        and all(re.fullmatch(r"[ -~]*", value) for value in (found.etag, found.last_modified) if value is not None)
        and type(found.inode) is int
    )


@given(states(), st.integers(0, 3000))
@example(state(url="\ud800", boot="é\x7f", etag='"' + "v" * (LONGEST_VALIDATOR - 2) + '"'), 0)
def test_a_state_comes_back_from_disk_as_it_was(found: State, padding: int) -> None:
    data = found.dump()
    assert resume.parse(data) == found
    assert resume.parse(data + b" " * padding) == found
    assert resume.is_state(data)
    assert data.isascii()


def test_a_state_of_many_pieces_is_no_larger_than_what_is_read_back() -> None:
    done = [(start, start + MIB // 2) for start in range(0, 5000 * MIB, MIB)]
    data = state(total=6000 * MIB, done=done).dump()
    assert len(data) < LARGEST_STATE
    assert resume.parse(data) is not None


@given(states(), st.data())
def test_a_damaged_byte_never_makes_another_state(found: State, data: st.DataObject) -> None:
    dump = bytearray(found.dump())
    dump[data.draw(st.integers(0, len(dump) - 1))] ^= data.draw(st.integers(1, 255))
    assert resume.parse(bytes(dump)) in (None, found)


def test_no_byte_of_a_state_may_be_damaged_unseen() -> None:
    found = state(last_modified=HOUR_BEFORE, checksum=str(PROMISED))
    dump = found.dump()
    for index in range(len(dump)):
        for flip in (0x01, 0x20, 0x80):
            damaged = dump[:index] + bytes([dump[index] ^ flip]) + dump[index + 1 :]
            assert resume.parse(damaged) in (None, found), (index, damaged)


@given(states(), states(), st.data())
def test_a_torn_state_is_never_a_third_one(before: State, after: State, data: st.DataObject) -> None:
    old, new = before.dump(), after.dump()
    size = max(len(old), len(new))
    cut = data.draw(st.integers(0, size))
    torn = new.ljust(size)[:cut] + old.ljust(size)[cut:]
    assert resume.parse(torn) in (None, before, after)
    assert resume.parse(new[:cut]) in (None, after)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()) | anything.map(sealed))
@example(b"")
@example(b"\x00" * 4096)
@example(b"[" * 100_000)
@example(b'{"gdl-part":' * 50_000)
@example(b'{"gdl-part": 1, "crc32": ' + b"9" * 10_000 + b', "state": {}}')
@example(b'{"gdl-part": 1, "crc32": 1e999, "state": {"done": NaN}}')
@example(b'\xff\xfe{\x00"\x00')
def test_bytes_that_are_no_state_are_none_and_no_error(data: bytes) -> None:
    assert resume.parse(data) is None


@given(states(), st.dictionaries(st.sampled_from([*asdict(state())]), anything, min_size=1, max_size=2))
@example(state(), {"total": True})
@example(state(), {"total": 0})
@example(state(), {"total": 1})
@example(state(), {"total": float(TOTAL)})
@example(state(), {"total": -1})
@example(state(), {"total": MOST_BYTES + 1})
@example(state(), {"total": "10"})
@example(state(), {"total": None, "done": [[0, MOST_BYTES + 1]]})
@example(state(), {"done": [[0, TOTAL + 1]]})
@example(state(), {"done": [[-1, 5]]})
@example(state(), {"done": [[5, 5]]})
@example(state(), {"done": [[0, 5], [5, 9]]})
@example(state(), {"done": [[6, 9], [0, 5]]})
@example(state(), {"done": [[False, True]]})
@example(state(), {"done": [[0, 5.0]]})
@example(state(), {"done": [[0, 5, 9]]})
@example(state(), {"done": ["ab"]})
@example(state(), {"done": {"ab": 1}})
@example(state(), {"done": None})
@example(state(), {"synced": 1})
@example(state(), {"published": None})
@example(state(), {"inode": True})
@example(state(), {"etag": 5})
@example(state(), {"etag": '"v1"\r\nX: y'})
@example(state(), {"last_modified": "é"})
@example(state(), {"url": None})
def test_a_state_without_sense_is_none_though_its_checksum_is_right(found: State, changes: dict[str, object]) -> None:
    read = resume.parse(sealed({**asdict(found), **changes}))
    assert read is None or sane(read)


@pytest.mark.parametrize("missing", sorted(asdict(state())))
def test_a_state_that_lacks_an_entry_is_none(missing: str) -> None:
    inner = asdict(state())
    del inner[missing]
    # What answered was not noted at first: such a part is compared with what answers now.
    assert resume.parse(sealed(inner)) == (replace(state(), answered="") if missing == "answered" else None)


def test_a_state_of_another_version_of_the_format_is_none() -> None:
    inner = asdict(state())
    assert resume.parse(sealed(inner)) == state()
    assert resume.parse(sealed({**inner, "more": 1})) is None
    for other in (0, 2, "1", None):
        assert resume.parse(sealed(inner, **{"gdl-part": other})) is None
    assert resume.parse(sealed(inner, crc32=0)) is None
    assert resume.parse(sealed(inner, crc32=None)) is None


@pytest.mark.parametrize("data", [b'{"gdl-part": 1', b'{"gdl-part": 2, "new": []}', state().dump()[:-5]])
def test_what_was_meant_as_a_state_is_known_as_such(data: bytes) -> None:
    assert resume.is_state(data)


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"url": "https://h/"}', b"not JSON", b'{"crc32": 1, "gdl-part": 1}'])
def test_another_programs_file_is_not_taken_for_a_state(data: bytes) -> None:
    assert not resume.is_state(data)


def test_what_is_left_of_a_state_after_a_power_cut_is_not_another_programs() -> None:
    for data in (b"", b"\0" * 1024):
        assert resume.is_state(data)
        assert resume.parse(data) is None


# Everything together


@given(
    found=states(),
    url=st.sampled_from([URL, MIRROR]),
    own=st.booleans(),
    checksum=st.sampled_from([None, PROMISED]),
    promised=st.sampled_from([None, str(PROMISED), str(OTHER)]),
    boot=st.sampled_from(["now", "before"]),
)
def test_what_is_planned_is_provable_and_leaves_something_to_ask_for(
    found: State, url: str, own: bool, checksum: Checksum | None, promised: str | None, boot: str
) -> None:
    found.url, found.checksum, found.boot = (url if own else "https://elsewhere/"), promised, boot
    plan = resume.plan(found, url=url, checksum=checksum, boot="now")
    if plan is None:
        return
    assert found.synced or boot == "now"
    assert found.total is not None
    assert checksum is not None or (own and (found.etag or found.last_modified))
    assert checksum is None or promised in (None, str(checksum))
    assert RESUME_FROM - 1 <= spans.covered(plan.done) < found.total == plan.ask.total
    assert (plan.ask.start, plan.ask.end) == spans.gaps(plan.done, found.total)[0]
    assert own or (plan.ask.etag, plan.ask.last_modified) == (None, None)
    left_out = spans.covered(found.done) - spans.covered(plan.done)
    assert left_out in (0, 1), "all that is there is built upon, but for the last byte"
