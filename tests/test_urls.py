"""URLs as people and servers write them, and what goes onto the wire."""

from __future__ import annotations

import re
import string
from contextlib import suppress
from urllib.parse import quote, unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import urls
from downloader.errors import InputError, RedirectError
from downloader.items import Checksum

SHA256 = "0123456789abcdef" * 4
ON_THE_WIRE = re.compile(r"https?://[a-z0-9._-]+(?::[0-9]+)?/[!$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]*")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://cdn1.example.org:8443/a/b%20c.jpg?w=1&h=[2]",
        "http://my_host.example/a",
        "http://-a.example/@me/x;y=1,2!$&'()*+~",
        "http://127.0.0.1:8080/x",
        "http://xn--fsqu00a.xn--0zwm56d/",
        "http://h.example:1/",
        "http://h.example:35123/x",
        "http://h.example:64999/x",
        "https://h.example/a//b/../c?u=http://x/?y",
    ],
)
def test_a_url_that_needs_nothing_is_kept_as_it_is(url: str) -> None:
    address = urls.parse(url)
    assert (address.url, address.username, address.password) == (url, None, None)
    assert urls._READY.fullmatch(url), "the long way round costs seven times as much"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTPS://Example.ORG/Path", "https://example.org/Path"),
        ("https://h.example", "https://h.example/"),
        ("https://h.example?q=1", "https://h.example/?q=1"),
        ("https://h.example/a#top", "https://h.example/a"),
        ("https://h.example#top", "https://h.example/"),
        ("http://h.example:80/a", "http://h.example/a"),
        ("https://h.example:443/a", "https://h.example/a"),
        ("https://h.example:80/a", "https://h.example:80/a"),
        ("http://h.example:008080/", "http://h.example:8080/"),
        ("http://h.example:/", "http://h.example/"),
        ("http://h.example:65535/", "http://h.example:65535/"),
        ("http://h.example:65000/", "http://h.example:65000/"),
        ("https://h.example/图 1.jpg", "https://h.example/%E5%9B%BE%201.jpg"),
        ("https://h.example/?q=é ü", "https://h.example/?q=%C3%A9%20%C3%BC"),
        ("https://h.example/100%/%zz/%4/%41%c3", "https://h.example/100%25/%25zz/%254/%41%c3"),
        ('https://h.example/<a>"b`{c}|d^\\', "https://h.example/%3Ca%3E%22b%60%7Bc%7D%7Cd%5E%5C"),
        ("https://例子.测试/图.jpg", "https://xn--fsqu00a.xn--0zwm56d/%E5%9B%BE.jpg"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://ｅｘａｍｐｌｅ。org/", "https://example.org/"),
        ("https://my_hôst.example/", "https://xn--my_hst-lxa.example/"),
        ("https://i❤.example/", "https://xn--i-7iq.example/"),
        ("https://b%C3%BCcher.example/", "https://xn--bcher-kva.example/"),
        ("https://example.org./a", "https://example.org./a"),
        ("http://[::1]/a", "http://[::1]/a"),
        ("http://[2001:DB8:0:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth0]/"),
        ("http://[fe80::1%eth0]/", "http://[fe80::1%25eth0]/"),
        (" https://h.example/a \r\n", "https://h.example/a"),
        ("https://h.example/a\u3000", "https://h.example/a%E3%80%80"),
        ("\thttps://h.example/voilà\xa0\x85\n", "https://h.example/voil%C3%A0%C2%A0%C2%85"),
    ],
)
def test_a_url_is_made_ready_for_the_wire(text: str, url: str) -> None:
    assert urls.parse(text).url == url
    assert urls.parse(url).url == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("ftp://h.example/a", "ftp:// is not supported: gdl downloads http and https URLs"),
        ("FILE:///etc/passwd", "file:// is not supported"),
        ("data:image/png;base64,AAAA", "data: is not supported"),
        ("magnet:?xt=urn:btih:0", "magnet: is not supported"),
        ("x" * 50 + "://h/", "x" * 20 + ":// is not supported"),
        ("example.org/a.jpg", "must begin with http:// or https://"),
        ("example.org:8080/a.jpg", "must begin with http:// or https://"),
        ("//example.org/a", "must begin with http:// or https://"),
        ("\xa0http://h.example/", "must begin with http:// or https://"),
        ("http\u017f://h.example/", "must begin with http:// or https://"),
        ("http:/h.example/a", "two slashes are missing"),
        ("https:h.example/a", "two slashes are missing"),
        ("http://", "no host name"),
        ("http:///a", "no host name"),
        ("http://:80/", "no host name"),
        ("http://u@/a", "no host name"),
        ("http://h.example:0/", "port"),
        ("http://h.example:65536/", "port"),
        ("http://h.example:99999999999/", "port"),
        ("http://h.example:-1/", "port"),
        ("http://h.example:٣/", "port"),
        ("http://h.example:80:80/", "port"),
        ("http://a..b/", "host name"),
        ("http://.a/", "host name"),
        ("http://a b/", "host name"),
        ("http://a%2Fb/", "host name"),
        ("http://℀.example/", "host name"),
        ("http://" + "a" * 64 + ".example/", "host name"),
        ("http://" + "a." * 127 + "aa/", "host name"),
        ("http://" + "é" * 60 + ".example/", "host name"),
        ("http://" + "é" * 100_000 + "/", "host name"),
        ("http://b%FFcher.example/", "host name"),
        ("http://\u202eevil.example/", "host name"),
        ("http://[::1/", "port"),
        ("http://user:/pass@h.example/", "port"),
        ("http://user:#pass@h.example/", "port"),
        ("http://[::g]/", "IPv6"),
        ("http://[v1.x]/", "IPv6"),
        ("http://[::1%]/", "zone"),
        ("http://[::1%25a b]/", "zone"),
        ("http://good.example\\@evil.example/", "backslash"),
        ("http://h.example/a\nb", "control character"),
        ("http://h.example/a\tb", "control character"),
        ("http://h.example/\0", "control character"),
        ("http://h.example/\x7f", "control character"),
        ("http://h.example/\ud800", "Unicode"),
        ("http://u:%0d%0a@h.example/", "control character"),
        ("http://u:%FF@h.example/", "not UTF-8"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        urls.parse(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("http://u:p@h.example/", "u", "p"),
        ("http://u@h.example/", "u", None),
        ("http://u:@h.example/", "u", ""),
        ("http://:p@h.example/", "", "p"),
        ("http://@h.example/", None, None),
        ("http://%C3%BC:p%3A%40%2F@h.example/", "ü", "p:@/"),
        ("http://u:p@ss:word@h.example:80/", "u", "p@ss:word"),
        ("http://us er:pa ss@h.example", "us er", "pa ss"),
    ],
)
def test_user_information_is_split_off_and_decoded(text: str, username: str | None, password: str | None) -> None:
    address = urls.parse(text)
    assert address.url == "http://h.example/"
    assert (address.username, address.password) == (username, password)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for candidate in (text, "http://" + text, "https://h.example/" + text):
        with suppress(InputError):
            address = urls.parse(candidate)
            assert ON_THE_WIRE.fullmatch(address.url) or "[" in address.url
            assert urls.parse(address.url).url == address.url
            assert urls.host_key(address.url)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#%")))
def test_escaping_loses_nothing(path: str) -> None:
    url = urls.parse("https://h.example/" + path + "x").url
    assert unquote(url) == "https://h.example/" + path + "x"


# No small letters: those may well be part of a message.
SECRET = st.text(string.ascii_uppercase + string.digits + "äß✓ !$&'()*+,;=~", min_size=6, max_size=12)


@given(SECRET, SECRET, st.text(), st.sampled_from(("http", "HTTPS", "ftp")))
def test_no_message_or_repr_shows_user_information(username: str, password: str, rest: str, scheme: str) -> None:
    for raw in (f"{username}:{password}", f"{quote(username)}:{quote(password)}"):
        text = f"{scheme}://{raw}@h.example:{rest}"
        try:
            said = repr(urls.parse(text))
        except InputError as error:
            said = f"{error!r} {error}"
        rest_as_shown = ascii(rest) + quote(rest, safe="", errors="replace") + rest
        for secret in (username, password, quote(password)):
            assert secret not in said or secret in rest_as_shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to hide", "nothing to hide"),
        ("see http://u:p@h/x and https://u@h:1/", "see http://***@h/x and https://***@h:1/"),
        ("(ftp://u:p@h/x)", "(ftp://***@h/x)"),
        ("//u:p@h/x", "//***@h/x"),
        ("socks5h://u:p@h:1080", "socks5h://***@h:1080"),
        ("https://medium.example/@me/x", "https://medium.example/@me/x"),
        ("http://h:8080/@me?x@y", "http://h:8080/@me?x@y"),
        ("http://[::1]:80/@me", "http://[::1]:80/@me"),
        ("mail me@example.org", "mail me@example.org"),
        ("http://u:p@ss@h/@me", "http://***@h/@me"),
        ("http://u:p/s?s#w@h/x", "http://***@h/x"),
        ("http://u:/s@h/x", "http://***@h/x"),
        ("see http://u:p\xa0p@h/x\u2003y", "see http://***@h/x\u2003y"),
        ("http://u:p\x85p\u3000/p@h/x z", "http://***@h/x z"),
        ("https://web.example/http://u:p@h/x", "https://web.example/http://***@h/x"),
    ],
)
def test_redacting_hides_user_information_and_nothing_else(text: str, expected: str) -> None:
    assert urls.redact(text) == expected
    assert urls.redact(expected) == expected


@pytest.mark.parametrize("piece", ["http://a:b", "a.", "://", "//u:", "@", "http://u:p@h "])
def test_redacting_a_long_text_takes_no_time(piece: str) -> None:
    urls.redact(piece * 100_000 + " x@y")


def test_a_quoted_text_is_short_printable_and_redacted() -> None:
    text = urls.shown("http://user:" + "p" * 500 + "@h/\x1b[31m\n" + "x" * 500)
    assert text.startswith("http://***@h/")
    assert text.isprintable()
    assert len(text) < 250


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://other.example/a?b#c", "https://other.example/a?b"),
        ("HTTP://Other.example", "http://other.example/"),
        ("//other.example/x", "https://other.example/x"),
        ("/x", "https://h.example/x"),
        ("x", "https://h.example/a/x"),
        ("../x?y", "https://h.example/x?y"),
        ("../../../x", "https://h.example/x"),
        ("?y", "https://h.example/a/b?y"),
        ("./x y", "https://h.example/a/x%20y"),
        (" /x \r\n", "https://h.example/x"),
        ("/图.jpg", "https://h.example/%E5%9B%BE.jpg"),
        ("/图.jpg".encode().decode("latin-1"), "https://h.example/%E5%9B%BE.jpg"),
        ("https://例子.测试/".encode().decode("latin-1"), "https://xn--fsqu00a.xn--0zwm56d/"),
        ("/caf\xe9.jpg", "https://h.example/caf%E9.jpg"),
        ("/voil\xc3\xa0", "https://h.example/voil%C3%A0"),
        ("\t/x?q=\xc5\xa0 \r\n", "https://h.example/x?q=%C5%A0"),
        ("/\xd1\x85", "https://h.example/%D1%85"),
        ("\xc2\xa0x", "https://h.example/a/%C2%A0x"),
        ("/\xa0", "https://h.example/%A0"),
        ("/caf\udce9.jpg", "https://h.example/caf%E9.jpg"),
        ("/%E9%zz", "https://h.example/%E9%25zz"),
    ],
)
def test_a_redirect_is_resolved_against_where_it_came_from(location: str, url: str) -> None:
    assert urls.join("https://h.example/a/b?c", location).url == url


def test_a_redirect_may_bring_credentials_for_its_caller_to_judge() -> None:
    address = urls.join("https://h.example/", "https://u:p@other.example/")
    assert (address.username, address.password) == ("u", "p")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("", "without a target"),
        ("ftp://u:p@h.example/x", "redirect to ftp://***@h.example/x refused: ftp:// is not supported"),
        ("file:///etc/passwd", "file:// is not supported"),
        ("javascript:alert(1)", "javascript: is not supported"),
        ("http://h.example:0/", "port"),
        ("https:///x", "no host name"),
        ("//u:p@[x/", "//***@[x/"),
        ("//u:p@℀.example/", "//***@"),
        ("/a\x00b", "control character"),
        ("/a\nb", "control character"),
        ("/\ud800", "not a valid URL"),
        ("x" * 10_000 + ":", "refused"),
    ],
)
def test_a_redirect_that_cannot_be_followed_says_where_it_led(location: str, said: str) -> None:
    with pytest.raises(RedirectError) as caught:
        urls.join("https://h.example/a", location)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "u:p" not in str(caught.value)


@given(st.text())
def test_any_redirect_is_resolved_or_refused(location: str) -> None:
    for text in (location, "//" + location, "http:" + location):
        with suppress(RedirectError):
            assert ON_THE_WIRE.match(urls.join("https://h.example/a/b", text).url) or "[" in text


@given(st.text("abc./?;=&", min_size=1).filter(lambda text: not text.startswith("//")))
def test_relative_redirects_follow_the_standard_library(location: str) -> None:
    base = "https://h.example/a/b?c"
    assert urls.join(base, location).url == urljoin(base, location)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://h.example/a", "https://h.example:443"),
        ("http://h.example", "http://h.example:80"),
        ("HTTP://H.Example:8080?x", "http://h.example:8080"),
        ("http://u:p@h.example/a@b", "http://h.example:80"),
        ("https://[::1]/", "https://[::1]:443"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("https://[fe80::1%25eth0]:1/", "https://[fe80::1%25eth0]:1"),
    ],
)
def test_a_host_key_has_scheme_name_and_port(url: str, key: str) -> None:
    assert urls.host_key(url) == key


@pytest.mark.parametrize("url", ["ftp://h.example/", "http\u017f://h.example/", ""])
def test_there_is_no_host_key_for_other_schemes(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        urls.host_key(url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sha256:" + SHA256, Checksum("sha256", SHA256)),
        ("sha-256=" + SHA256.upper(), Checksum("sha256", SHA256)),
        (" SHA256 : " + SHA256 + " ", Checksum("sha256", SHA256)),
        ("md5:" + "a" * 32, Checksum("md5", "a" * 32)),
        ("sha-1=" + "b" * 40, Checksum("sha1", "b" * 40)),
        ("sha-512=" + "c" * 128, Checksum("sha512", "c" * 128)),
    ],
)
def test_checksums_are_read_in_both_forms(text: str, expected: Checksum) -> None:
    assert urls.checksum(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write sha256:HEX"),
        (SHA256, "write sha256:HEX"),
        ("crc32:01234567", "write sha256:HEX"),
        ("sha256:" + SHA256[1:], "64 hexadecimal digits"),
        ("sha256:" + "g" * 64, "64 hexadecimal digits"),
        ("sha1:" + SHA256, "40 hexadecimal digits"),
        ("md5:" + "٣" * 32, "32 hexadecimal digits"),
        ("md5:" + "a" * 32 + "\xa0", "32 hexadecimal digits"),
        ("\xa0md5:" + "a" * 32, "write sha256:HEX"),
    ],
)
def test_a_checksum_that_cannot_be_checked_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        urls.checksum(text)


def test_a_fragment_may_be_a_checksum() -> None:
    expected = Checksum("sha256", SHA256)
    assert urls.fragment_checksum(f"https://h.example/a#sha256={SHA256}") == expected
    assert urls.fragment_checksum(f"https://h.example/a#name=x&sha256={SHA256}") == expected
    assert urls.fragment_checksum("https://h.example/a?sha256=1#top") is None
    assert urls.fragment_checksum("https://h.example/a") is None
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        urls.fragment_checksum("https://h.example/a#sha256=12")
