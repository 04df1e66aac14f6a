"""What a response means: every status has its verdict, every length and validator its consequence."""

from __future__ import annotations

import pickle
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors, verdict
from downloader.items import Checksum
from downloader.options import Options
from downloader.responses import Head
from downloader.verdict import Redirect, Save

NOW = 1_700_000_000.0
DATE = "Wed, 01 May 2024 12:00:00 GMT"
HOUR_BEFORE = "Wed, 01 May 2024 11:00:00 GMT"
MINUTE_BEFORE = "Wed, 01 May 2024 11:59:00 GMT"
SECOND_BEFORE = "Wed, 01 May 2024 11:59:59 GMT"


def head(status: int, **fields: str) -> Head:
    return Head(status, "1.1", {name.replace("_", "-"): value for name, value in fields.items()})


def decide(status: int, **fields: str) -> object:
    return verdict.decide(head(status, **fields), Options(), now=NOW)


def failure(status: int, **fields: str) -> errors.TransferError:
    answer = decide(status, **fields)
    assert isinstance(answer, errors.TransferError)
    return answer


# Bodies that are the file


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({"content_length": "1234"}, 1234),
        ({"content_length": "0"}, 0),
        ({}, None),
        ({"content_length": "7, 7"}, 7),
        ({"content_length": "many", "transfer_encoding": "chunked"}, None),
        ({"content_length": "many", "content_encoding": "gzip"}, None),
        ({"content_length": "10", "content_encoding": "gzip"}, None),
        ({"content_length": "10", "content_encoding": "identity"}, 10),
        ({"content_length": "10", "transfer_encoding": "chunked"}, None),
    ],
)
def test_a_body_has_the_length_promised_unless_that_is_another_ones(fields: dict[str, str], total: int | None) -> None:
    for status in (200, 203):
        assert decide(status, **fields) == Save(total)


@pytest.mark.parametrize("length", ["many", "-1", "", "9" * 20, "5, 6"])
def test_a_content_length_that_makes_no_sense_leaves_no_way_to_tell_a_whole_body(length: str) -> None:
    for status in (200, 203):
        error = failure(status, content_length=length)
        assert isinstance(error, errors.BodyError)
        assert "Content-Length" in str(error)


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({"content_range": "bytes 0-99/100"}, 100),
        ({"content_range": "bytes 0-99/100", "content_length": "100", "content_encoding": "identity"}, 100),
        ({"content_range": "bytes 0-98/100"}, None),
        ({"content_range": "bytes 1-99/100"}, None),
        ({"content_range": "bytes 0-99/*"}, None),
        ({"content_range": "bytes */100"}, None),
        ({"content_range": "bytes 0-99/100", "content_encoding": "gzip"}, None),
        ({"content_range": "bytes 0-99/100", "content_type": "multipart/byteranges; boundary=x"}, None),
        ({"content_length": "100"}, None),
    ],
)
def test_a_206_that_nobody_asked_for_is_the_file_only_where_it_is_all_of_it(
    fields: dict[str, str], total: int | None
) -> None:
    if total is not None:
        assert decide(206, **fields) == Save(total)
        return
    error = failure(206, **fields)
    assert isinstance(error, errors.BodyError)
    assert "nobody asked for" in str(error)


@pytest.mark.parametrize("status", [200, 203])
@pytest.mark.parametrize(
    ("fields", "is_part"),
    [
        ({"content_range": "bytes 0-98/100", "content_length": "99"}, True),
        ({"content_range": "bytes 90-99/100", "content_length": "10"}, True),
        ({"content_range": "bytes 0-99/100", "content_length": "100"}, False),
        ({"content_range": "bytes 0-98/100", "content_length": "100"}, False),  # a mistake in the field alone
        ({"content_range": "bytes 0-98/*", "content_length": "99"}, False),
        ({"content_range": "bytes 0-98/100"}, False),
    ],
)
def test_a_200_that_says_of_itself_that_it_is_a_part_is_no_file(
    status: int, fields: dict[str, str], *, is_part: bool
) -> None:
    if is_part:
        assert "nobody asked for" in str(failure(status, **fields))
    else:
        assert type(decide(status, **fields)) is Save


def test_a_416_to_a_request_for_everything_is_a_failure() -> None:
    error = failure(416, content_range="bytes */0")
    assert (type(error), error.retryable) == (errors.StatusError, False)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_to_its_location(status: int) -> None:
    assert decide(status, location="/b.jpg") == Redirect("/b.jpg")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_location_fails_and_says_so(status: int) -> None:
    for fields in ({}, {"location": ""}):
        error = failure(status, **fields)
        assert "without a Location" in str(error)
        assert not error.retryable


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 404, 503])
def test_a_location_means_nothing_with_another_status(status: int) -> None:
    assert not isinstance(decide(status, location="/b.jpg"), Redirect)


# Failures


def test_every_status_is_the_file_a_redirect_or_a_failure_that_names_it() -> None:
    for status in range(700):
        answer = decide(status)
        if status in (200, 203):
            assert answer == Save(None)
            continue
        assert isinstance(answer, errors.TransferError)
        assert str(status) in str(answer)
        if status == 206:
            assert isinstance(answer, errors.BodyError)
            continue
        assert isinstance(answer, errors.StatusError)
        assert answer.status == status
        assert answer.retryable == (status in {408, 425, 429, 500, 502, 503, 504})


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status not in (200, 203, 206)])
def test_a_failure_has_the_standard_phrase_of_its_status(status: HTTPStatus) -> None:
    assert status.phrase in str(failure(status.value))


@pytest.mark.parametrize(("status", "hint"), [(401, "--netrc"), (407, "--proxy")])
def test_a_refusal_that_credentials_would_end_says_how_to_give_them(status: int, hint: str) -> None:
    assert hint in str(failure(status))


@pytest.mark.parametrize("status", sorted(verdict.TRANSIENT))
def test_a_transient_refusal_tells_how_long_to_wait(status: int) -> None:
    assert failure(status, retry_after="7").retry_after == 7.0
    assert failure(status).retry_after is None
    assert failure(status, retry_after="when it suits you").retry_after is None


def test_a_retry_after_date_is_compared_with_the_servers_own_clock() -> None:
    assert failure(503, retry_after=DATE, date=MINUTE_BEFORE).retry_after == 60.0
    assert failure(503, retry_after="Tue, 14 Nov 2023 22:13:30 GMT").retry_after == 10.0
    assert failure(503, retry_after=DATE, date="never").retry_after == pytest.approx(1_714_564_800 - NOW)


def test_a_lasting_refusal_has_no_retry_after() -> None:
    assert failure(404, retry_after="7").retry_after is None


def test_a_status_error_keeps_all_it_knows_across_processes() -> None:
    error = pickle.loads(pickle.dumps(failure(503, retry_after="7")))  # noqa: S301 our own bytes
    assert (error.status, error.retryable, error.retry_after) == (503, True, 7.0)


# Sizes


@pytest.mark.parametrize(
    ("size", "complete", "fits"),
    [
        (None, True, True),
        (99, True, False),
        (99, False, True),
        (100, True, True),
        (200, True, True),
        (200, False, True),
        (201, True, False),
        (201, False, False),
    ],
)
def test_sizes_are_judged_as_soon_as_they_are_certain(size: int | None, complete: bool, fits: bool) -> None:
    error = verdict.check_size(size, Options(min_size=100, max_size=200), complete=complete)
    assert (error is None) is fits
    if error is not None:
        assert ("--max-size" if size and size > 200 else "--min-size") in str(error)
        assert ("more than" in str(error)) is not complete


def test_a_promised_size_out_of_bounds_fails_before_the_body_comes() -> None:
    options = Options(min_size=100, max_size=200)
    for length in ("99", "201"):
        answer = verdict.decide(head(200, content_length=length), options, now=NOW)
        assert isinstance(answer, errors.SizeError)
    assert verdict.decide(head(200, content_length="150"), options, now=NOW) == Save(150)
    assert verdict.decide(head(200), options, now=NOW) == Save(None)


@given(received=st.integers(0, 10**12), total=st.none() | st.integers(0, 10**12))
def test_a_length_is_right_or_a_failure_that_may_pass(received: int, total: int | None) -> None:
    error = verdict.check_length(received, total)
    if total is None or received == total:
        assert error is None
    else:
        assert error is not None
        assert error.retryable
        assert f"{total:,}" in str(error)
        assert f"{received:,}" in str(error)


# Digests

MD5, SHA256 = Checksum("md5", "a" * 32), Checksum("sha256", "b" * 64)


@pytest.mark.parametrize(
    ("found", "promised", "right"),
    [
        ((), None, True),
        ((MD5,), None, True),
        ((MD5,), MD5, True),
        ((SHA256, MD5), MD5, True),
        ((SHA256,), MD5, True),
        ((Checksum("md5", "c" * 32),), MD5, False),
        ((SHA256, Checksum("md5", "c" * 32)), MD5, False),
    ],
)
def test_a_digest_denies_only_a_promise_of_its_own_kind(
    found: tuple[Checksum, ...], promised: Checksum | None, right: bool
) -> None:
    error = verdict.check_digests(found, promised)
    assert (error is None) is right
    if error is not None:
        assert not error.retryable
        assert "c" * 32 in str(error)
        assert "a" * 32 in str(error)
