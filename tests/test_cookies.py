"""Cookies go to the hosts and paths they belong to (RFC 6265), and bad files say where they are bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downloader.cookies import CookieFile
from downloader.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_000_000.0


def jar(folder: Path, *lines: str) -> CookieFile:
    file = folder / "cookies.txt"
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
    return CookieFile(str(file), now=NOW)


def line(
    domain: str = "h.example",
    *,
    subdomains: bool = False,
    path: str = "/",
    secure: bool = False,
    expires: str = "0",
    name: str = "a",
    value: str = "1",
) -> str:
    flags = {True: "TRUE", False: "FALSE"}
    return "\t".join((domain, flags[subdomains], path, flags[secure], expires, name, value))


@pytest.mark.parametrize(
    ("domain", "subdomains", "url", "sent"),
    [
        ("h.example", False, "http://h.example/", True),
        ("h.example", False, "http://H.Example/", True),
        ("H.EXAMPLE", False, "http://h.example/", True),
        ("h.example", False, "http://h.example:8080/", True),
        ("h.example\xa0", False, "http://h.example/", False),
        ("h.example", False, "http://www.h.example/", False),
        ("h.example", True, "http://www.h.example/", True),
        (".h.example", True, "http://h.example/", True),
        (".h.example", True, "http://a.b.h.example/", True),
        (".h.example", False, "http://www.h.example/", True),
        (".h.example", True, "http://oh.example/", False),
        (".h.example", True, "http://h.example.evil/", False),
        (".h.example", True, "http://example/", False),
        ("127.0.0.1", False, "http://127.0.0.1/", True),
        (".0.0.1", True, "http://127.0.0.1/", False),
        ("0.0.1", True, "http://127.0.0.1/", False),
        ("::1", False, "http://[::1]/", True),
    ],
)
def test_a_cookie_goes_to_its_domain(tmp_path: Path, domain: str, subdomains: bool, url: str, sent: bool) -> None:
    assert jar(tmp_path, line(domain, subdomains=subdomains)).header(url) == ("a=1" if sent else None)


@pytest.mark.parametrize(
    ("path", "asked", "sent"),
    [
        ("/", "", True),
        ("/", "/x/y", True),
        ("/x", "/x", True),
        ("/x", "/x/", True),
        ("/x", "/x/y", True),
        ("/x", "/x?q", True),
        ("/x/", "/x/y", True),
        ("/x", "/xy", False),
        ("/x/", "/x", False),
        ("/x", "/", False),
        ("/X", "/x", False),
        ("x", "/anything", True),
        ("", "/anything", True),
    ],
)
def test_a_cookie_goes_to_its_path_and_below(tmp_path: Path, path: str, asked: str, sent: bool) -> None:
    assert jar(tmp_path, line(path=path)).header(f"http://h.example{asked}") == ("a=1" if sent else None)


def test_a_secure_cookie_goes_over_https_only(tmp_path: Path) -> None:
    cookies = jar(tmp_path, line(secure=True))
    assert cookies.header("http://h.example/") is None
    assert cookies.header("https://h.example/") == "a=1"


@pytest.mark.parametrize(
    ("expires", "sent"),
    [("0", True), ("-1", True), ("1000000", True), ("999999", False), ("1000001.5", True), ("99999999999", True)],
)
def test_an_expired_cookie_goes_nowhere(tmp_path: Path, expires: str, sent: bool) -> None:
    assert jar(tmp_path, line(expires=expires)).header("http://h.example/") == ("a=1" if sent else None)


def test_longer_paths_come_first_and_others_in_the_files_order(tmp_path: Path) -> None:
    cookies = jar(tmp_path, line(name="a"), line(name="b", path="/x"), line(name="c"), line(name="d", path="/x"))
    assert cookies.header("http://h.example/x") == "b=1; d=1; a=1; c=1"


def test_a_file_as_browsers_write_it_is_read(tmp_path: Path) -> None:
    cookies = jar(
        tmp_path,
        "\ufeff# Netscape HTTP Cookie File",
        "# https://curl.se/docs/http-cookies.html",
        "",
        "   ",
        "#HttpOnly_" + line(name="session", value="x=y=="),
        line(name="crlf") + "\r",
        "h.example\tFALSE\t/\tFALSE\t0\tempty",
        line(name="", value="bare"),
    )
    assert cookies.header("http://h.example/") == "session=x=y==; crlf=1; empty=; bare"


def test_a_value_is_sent_with_all_its_letters(tmp_path: Path) -> None:
    assert jar(tmp_path, line(value="voilà\x85\xa0")).header("http://h.example/") == "a=voilà\x85\xa0"


def test_an_empty_file_has_no_cookies(tmp_path: Path) -> None:
    assert jar(tmp_path).header("http://h.example/") is None


@pytest.mark.parametrize(
    "bad",
    [
        "h.example FALSE / FALSE 0 a 1",
        "h.example\tFALSE\t/\tFALSE\t0",
        line() + "\tmore",
        line(expires="soon"),
        line(expires=""),
        line(expires="1.2.3"),
        line(expires="--5"),
        line(expires="1.x"),
        line(expires="9" * 400),
        line(expires="1_0"),
        line(expires="١٢"),
        line(expires="5\xa0"),
        "\xa0",
        line(value="a;b"),
        line(value="a\x01b"),
        line(value="a\x7fb"),
        line(name="a\x00"),
        '{"a": 1}',
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, bad: str) -> None:
    with pytest.raises(UsageError, match=r"cookies\.txt:2: "):
        jar(tmp_path, line(), bad, line())


def test_a_message_does_not_show_the_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        jar(tmp_path, line(value="s3cret;"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "bytes"])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "cookies.txt"
    if kind == "folder":
        file.mkdir()
    elif kind == "bytes":
        file.write_bytes(b"h\tTRUE\t/\tFALSE\t0\ta\t\xff\n")
    with pytest.raises(UsageError, match=r"--cookies.*cookies\.txt"):
        CookieFile(str(file), now=NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12)))
def test_no_line_is_worse_than_a_usage_error(tmp_path: Path, fields: list[str]) -> None:
    try:
        cookies = jar(tmp_path, "\t".join(fields))
    except UsageError:
        return
    header = cookies.header("https://h.example/")
    assert header is None or "\n" not in header
