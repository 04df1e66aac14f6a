"""What is sent where: headers by precedence, credentials only home, redirects only where they may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import request
from downloader.cookies import CookieFile
from downloader.errors import RedirectError
from downloader.items import Address, Item
from downloader.options import USER_AGENT, Options
from downloader.request import Request
from downloader.resume import Ask

if TYPE_CHECKING:
    from pathlib import Path

HOME = "https://h.example/a.jpg"
Headers = tuple[tuple[str, str], ...]


def build(item: Item, options: Options | None = None, to: str | None = None) -> Request:
    address = item.address if to is None else Address(to)
    return request.build(item, address, options or Options(), cookies=None, deadline=None)


# Precedence


@pytest.mark.parametrize(
    ("own", "general", "expected"),
    [
        ((), (), ()),
        ((), (("A", "1"),), (("A", "1"),)),
        ((("A", "1"),), (), (("A", "1"),)),
        ((("a", "1"),), (("A", "2"), ("B", "3")), (("B", "3"), ("a", "1"))),
        ((("A", "1"), ("A", "2")), (("A", "3"),), (("A", "1"), ("A", "2"))),
        ((), (("A", "1"), ("A", "2")), (("A", "1"), ("A", "2"))),
    ],
)
def test_an_items_headers_win_over_those_of_the_options(own: Headers, general: Headers, expected: Headers) -> None:
    assert build(Item(Address(HOME), headers=own), Options(headers=general)).headers == expected


def test_an_items_user_agent_and_referer_win_over_the_options_in_either_form() -> None:
    options = Options(user_agent="general", referer="https://general/", headers=(("USER-AGENT", "x"), ("referer", "y")))
    item = Item(Address(HOME), user_agent="own", referer="https://own/")
    built = build(item, options)
    assert (built.user_agent, built.referer, built.headers) == ("own", "https://own/", ())
    built = build(Item(Address(HOME)), options)
    assert (built.user_agent, built.referer) == ("general", "https://general/")
    assert built.headers == options.headers


@pytest.mark.parametrize(
    ("own", "general", "kept"),
    [
        ((), (("Range", "bytes=0-"),), ()),
        ((("range", "bytes=0-"),), (), ()),
        ((("RANGE", "bytes=5-"), ("A", "1")), (("If-Range", '"mine"'), ("B", "2")), (("B", "2"), ("A", "1"))),
        ((("Ranges", "1"),), (("If-Match", "*"),), (("If-Match", "*"), ("Ranges", "1"))),
    ],
)
def test_a_request_has_no_range_but_the_one_that_gdl_asks_for(own: Headers, general: Headers, kept: Headers) -> None:
    item, options = Item(Address(HOME), headers=own), Options(headers=general)
    ask = Ask(2, 4, 10, '"v1"')
    built = request.build(item, item.address, options, cookies=None, deadline=None, ask=ask)
    assert built.headers == (*kept, ("Range", "bytes=2-3"), ("If-Range", '"v1"'))
    assert build(item, options).headers == (*general, *own), "all of the file is asked for as the user says"


def test_without_options_gdl_says_who_asks_and_nothing_else() -> None:
    built = build(Item(Address(HOME)))
    assert built == Request(url=HOME, user_agent=USER_AGENT)


def test_secrets_do_not_show() -> None:
    shown = repr(Request(HOME, (("Authorization", "s3cret"),), "s3cret-user", "s3cret-word", cookie="s=s3cret"))
    assert "s3cret" not in shown


# Credentials stay at home


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (HOME, "https://h.example/elsewhere?x", True),
        (HOME, "https://H.EXAMPLE:443/", True),
        (HOME, "https://h.example:8443/", False),
        (HOME, "https://www.h.example/", False),
        (HOME, "https://example/", False),
        (HOME, "http://h.example/", False),
        (HOME, "http://h.example:443/", False),
        ("http://h.example/", "https://h.example/", True),
        ("http://h.example:80/", "https://h.example:443/", True),
        ("http://h.example:8080/", "https://h.example/", False),
        ("http://h.example/", "https://h.example:8443/", False),
        ("http://h.example/", "https://other.example/", False),
        ("http://h.example/", "http://h.example:81/", False),
        ("http://[::1]/", "https://[::1]/", True),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1/x", True),
    ],
)
def test_only_the_same_origin_or_its_upgrade_is_trusted(own: str, other: str, expected: bool) -> None:
    assert request.trusted(own, other) is expected


SECRETS = (("Authorization", "s3cret"), ("X-Api-Key", "s3cret"), ("Cookie", "s3cret"))
HARMLESS = (("Accept", "image/avif"), ("accept-language", "de"))


@pytest.mark.parametrize(
    ("to", "trusted"),
    [
        ("http://h.example/b.jpg", True),
        ("https://h.example/b.jpg", True),
        ("http://cdn.example/b.jpg", False),
        ("http://h.example:8080/b.jpg", False),
    ],
)
def test_credentials_follow_a_redirect_home_and_nowhere_else(to: str, trusted: bool) -> None:
    item = Item(Address("http://h.example/a.jpg", "me", "s3cret"), headers=SECRETS[:1] + HARMLESS[:1])
    built = build(item, Options(headers=SECRETS[1:] + HARMLESS[1:]), to)
    assert set(HARMLESS) <= set(built.headers)
    if trusted:
        assert set(SECRETS) <= set(built.headers)
        assert (built.username, built.password) == ("me", "s3cret")
    else:
        assert set(built.headers) == set(HARMLESS)
        assert (built.username, built.password) == (None, None)


def test_credentials_in_the_redirect_itself_are_used_there() -> None:
    item = Item(Address(HOME, "me", "s3cret"))
    target = Address("https://cdn.example/b.jpg", "other", "word")
    built = request.build(item, target, Options(), cookies=None, deadline=None)
    assert (built.username, built.password) == ("other", "word")


def test_cookies_are_those_of_the_address_not_of_the_item(tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text("h.example\tFALSE\t/\tFALSE\t0\thome\t1\ncdn.example\tFALSE\t/\tFALSE\t0\tcdn\t2\n")
    cookies = CookieFile(str(jar), now=0)
    item = Item(Address(HOME))
    there = request.build(item, Address("https://cdn.example/b.jpg"), Options(), cookies=cookies, deadline=1.5)
    here = request.build(item, item.address, Options(), cookies=cookies, deadline=None)
    assert (here.cookie, there.cookie, there.deadline) == ("home=1", "cdn=2", 1.5)


@given(
    headers=st.lists(st.tuples(st.text("abcXYZ-", min_size=1), st.text("abc"))),
    host=st.from_regex(r"[a-z]{1,8}\.test", fullmatch=True),
)
def test_no_header_but_the_harmless_ones_ever_reaches_another_host(headers: list[tuple[str, str]], host: str) -> None:
    built = build(Item(Address(HOME), headers=tuple(headers)), to=f"https://{host}/")
    assert {name.lower() for name, _ in built.headers} <= {"accept", "accept-language", "dnt", "user-agent", "referer"}


# Where redirects lead


@pytest.mark.parametrize(
    ("current", "location", "expected"),
    [
        (HOME, "/b.jpg", "https://h.example/b.jpg"),
        (HOME, "b.jpg?x=1#frag", "https://h.example/b.jpg?x=1"),
        (HOME, "//cdn.example/b", "https://cdn.example/b"),
        (HOME, "https://cdn.example/b c", "https://cdn.example/b%20c"),
        ("http://h.example/a", "https://h.example/a", "https://h.example/a"),
        ("http://h.example/a", "http://other.example/", "http://other.example/"),
    ],
)
def test_a_location_is_resolved_against_where_it_came_from(current: str, location: str, expected: str) -> None:
    assert request.follow(Address(current), location, insecure=False).url == expected


def test_a_redirect_from_https_to_http_needs_insecure() -> None:
    with pytest.raises(RedirectError, match="--insecure"):
        request.follow(Address(HOME), "http://h.example/a.jpg", insecure=False)
    assert request.follow(Address(HOME), "http://h.example/a.jpg", insecure=True).url == "http://h.example/a.jpg"


@pytest.mark.parametrize(
    "location",
    ["ftp://h.example/a", "file:///etc/passwd", "javascript:alert(1)", "data:,x", "http://", "https://h:99999/"],
)
def test_a_redirect_to_what_is_no_web_address_is_refused(location: str) -> None:
    with pytest.raises(RedirectError):
        request.follow(Address(HOME), location, insecure=True)


def test_a_refused_redirect_does_not_show_credentials() -> None:
    with pytest.raises(RedirectError) as caught:
        request.follow(Address(HOME), "http://me:s3cret@h.example/", insecure=False)
    assert "s3cret" not in str(caught.value)
