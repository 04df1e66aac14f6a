"""What one entry asks for: text with aria2's options, and JSON."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.entries import LONGEST, MOST, Draft, read_json, read_mapping, read_text
from downloader.errors import InputError
from downloader.items import Address, Checksum

if TYPE_CHECKING:
    from collections.abc import Sequence

A = Address("https://h.example/a")
B = Address("https://h.example/b")
SHA256 = "0123456789abcdef" * 4
SUM = Checksum("sha256", SHA256)


def text(line: str, *options: str, warned: list[str] | None = None) -> Draft:
    draft = Draft()
    read_text(draft, line, options, ([] if warned is None else warned).append)
    return draft


def mapping(**value: object) -> Draft:
    draft = Draft()
    read_mapping(draft, value)
    return draft


def from_json(line: str) -> Draft:
    draft = Draft()
    read_json(draft, line)
    return draft


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("https://h.example/a", Draft(A)),
        ("  https://h.example/a \t", Draft(A)),
        ("https://h.example/a cat.jpg", Draft(A, name="cat.jpg")),
        ("https://h.example/a   pets/my cat.jpg  ", Draft(A, name="pets/my cat.jpg")),
        ("https://h.example/a\tmy cat.jpg", Draft(A, name="my cat.jpg")),
        ("https://h.example/a \t cat.jpg", Draft(A, name="cat.jpg")),
        ("https://h.example/a /etc/../x", Draft(A, name="/etc/../x")),
        ("https://h.example/a #1.jpg", Draft(A, name="#1.jpg")),
        ("https://h.example/a\thttps://h.example/b", Draft(A, (B,))),
        ("https://h.example/a\t\tHTTPS://h.example/b\tcat.jpg", Draft(A, (B,), "cat.jpg")),
        ("https://h.example/a cat.jpg\thttps://h.example/b", Draft(A, (B,), "cat.jpg")),
        ("https://h.example/a\thttps://h.example/b my cat.jpg", Draft(A, (B,), "my cat.jpg")),
        (f"https://h.example/a#sha256={SHA256} x", Draft(A, name="x", checksum=SUM)),
        (f"https://h.example/a\thttps://h.example/b#sha256={SHA256}", Draft(A, (B,), checksum=SUM)),
        ("https://h.example/图\u3000", Draft(Address("https://h.example/%E5%9B%BE%E3%80%80"))),
        ("https://h.example/voilà", Draft(Address("https://h.example/voil%C3%A0"))),
        ("https://h.example/a\xa0https://", Draft(Address("https://h.example/a%C2%A0https://"))),
        ("https://h.example/a voilà", Draft(A, name="voilà")),
        ("https://h.example/a \xa0Ü ", Draft(A, name="\xa0Ü")),
        ("https://h.example/a http\u017f://x", Draft(A, name="http\u017f://x")),
        ("https://h.example/a\t\u3000", Draft(A)),
        ("https://u:p@h.example/a", Draft(Address("https://h.example/a", "u", "p"))),
    ],
)
def test_a_line_of_text_is_a_url_mirrors_and_a_name(line: str, expected: Draft) -> None:
    assert text(line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("example.org/a", "must begin with http:// or https://"),
        ("https://h.example/a https://h.example/b", "second URL"),
        ("https://h.example/a b\tc", "two names"),
        ("https://h.example/a\tb\tc", "two names"),
        ("https://h.example/a\tftp://h.example/b", "ftp:// is not supported"),
        ("https://h.example/a#sha256=12", "64 hexadecimal digits"),
        (f"https://h.example/a#sha256={SHA256}\thttps://h.example/b#md5={'a' * 32}", "two different"),
    ],
)
def test_a_line_of_text_that_is_ambiguous_or_wrong_is_refused(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        text(line)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["  out=my cat.jpg"], Draft(A, name="my cat.jpg")),
        (["  dir=pets", "  out=cat.jpg"], Draft(A, name="pets/cat.jpg")),
        (["  out=cat.jpg", "\tdir = pets/ "], Draft(A, name="pets/cat.jpg")),
        (["  dir=pets"], Draft(A, name="pets/")),
        (["  dir=/srv/pets"], Draft(A, name="/srv/pets/")),
        (["  dir=pets", "  out=/etc/cat"], Draft(A, name="/etc/cat")),
        (["  out=a", "  out=b"], Draft(A, name="b")),
        (["  out=", "  dir="], Draft(A)),
        ([f"  checksum=sha-256={SHA256}"], Draft(A, checksum=SUM)),
        (["  Referer=https://h.example/"], Draft(A, referer="https://h.example/")),
        (["  referer=*"], Draft(A, referer="https://h.example/a")),
        (["  referer=https://u:p@h.example/#top"], Draft(A, referer="https://h.example/")),
        (["  referer=about:blank"], Draft(A, referer="about:blank")),
        (["  user-agent=x/1 (y=z)"], Draft(A, user_agent="x/1 (y=z)")),
        (["  user-agent=x\xa0 "], Draft(A, user_agent="x\xa0")),
        (["  out=\xa0à\x85 "], Draft(A, name="\xa0à\x85")),
        (["  header=X-A: \xa0à\u3000 "], Draft(A, headers=[("X-A", "\xa0à\u3000")])),
        (
            ["  header=X-A: b: c", "  header=X-A:"],
            Draft(A, headers=[("X-A", "b: c"), ("X-A", "")]),
        ),
    ],
)
def test_the_options_of_aria2_that_matter_here_are_taken(options: Sequence[str], expected: Draft) -> None:
    assert text("https://h.example/a", *options) == expected


def test_a_folder_goes_with_the_name_on_the_line() -> None:
    assert text("https://h.example/a cat.jpg", "  dir=pets").name == "pets/cat.jpg"


def test_other_options_are_reported_by_key() -> None:
    warned: list[str] = []
    assert text("https://h.example/a", "  split=5", "  http-passwd=secret", warned=warned) == Draft(A)
    assert warned == ["split", "http-passwd"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("  checksum=crc32=1", "checksum"),
        ("  header=no colon", "a header is Name: value"),
        ("  header=X-Ü: x", "a header is Name: value"),
        ("  header=X-A\xa0: x", "a header is Name: value"),
        ("  header=: x", "a header is Name: value"),
        ("  header=X-A: a\rX-B: b", "control character"),
        ("  user-agent=a\0", "control character"),
        ("  referer=ftp://u:p@h.example/", "referer"),
        ("  out=https://h.example/b", "second URL"),
    ],
)
def test_an_option_that_cannot_be_used_fails_its_item(option: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        text("https://h.example/a", option)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("\t".join(["https://h.example/a"] * (MOST + 1)), "more than 1,000 addresses"),
        ("https://h.example/a\t" + "\t".join(["x"] * 5000), "two names"),
        ("https://h.example/" + "é" * LONGEST, "longer than 32,768 characters"),
        ("https://h.example/a#" + "&" * LONGEST, "longer than 32,768 characters"),
        ("https://h.example/a " + "b/" * LONGEST, "too long for a path"),
    ],
)
def test_there_is_a_bound_to_everything(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        text(line)


def test_a_folder_has_a_bound_too() -> None:
    with pytest.raises(InputError, match="too long for a path"):
        text("https://h.example/a", "  dir=" + "b/" * LONGEST)


def test_a_name_on_the_line_and_an_option_are_two_names() -> None:
    with pytest.raises(InputError, match="two names"):
        text("https://h.example/a x", "  out=y")


def also(members: str) -> str:
    return '{"url": "https://h.example/a", ' + members + "}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"url": "https://h.example/a"}', Draft(A)),
        ('{"url": ["https://h.example/a", "https://h.example/b"]}', Draft(A, (B,))),
        ('{"url": " https://h.example/a b\\n"}', Draft(Address("https://h.example/a%20b"))),
        (also('"name": "pets/my cat.jpg"'), Draft(A, name="pets/my cat.jpg")),
        (also('"name": "  "'), Draft(A)),
        (also('"name": "\\u00a0\\u3000"'), Draft(A)),
        (also('"name": " voil\\u00e0\\u0085\\n"'), Draft(A, name="voilà\x85")),
        (also(f'"checksum": "sha256:{SHA256}"'), Draft(A, checksum=SUM)),
        (also('"headers": {"X-A": "b", "X-C": " d "}'), Draft(A, headers=[("X-A", "b"), ("X-C", "d")])),
        (also('"referer": "https://h.example/"'), Draft(A, referer="https://h.example/")),
        (also('"user_agent": "x"'), Draft(A, user_agent="x")),
        (also('"user-agent": "x"'), Draft(A, user_agent="x")),
        (also('"name": null, "checksum": null, "headers": null, "referer": null'), Draft(A)),
        (also('"id": 1, "tags": ["x", 1.5, null]'), Draft(A, extra={"id": 1, "tags": ["x", 1.5, None]})),
        (also(f'"x": "{"," * 20_000}", "y": "\\\\"'), Draft(A, extra={"x": "," * 20_000, "y": "\\"})),
        (also('"x": "\\ud83d\\ude00"'), Draft(A, extra={"x": "😀"})),
        (also('"x": "\\\\ud800 [{' + "[" * 99 + '"'), Draft(A, extra={"x": "\\ud800 [{" + "[" * 99})),
    ],
)
def test_a_json_line_says_the_same_by_keys(line: str, expected: Draft) -> None:
    assert from_json(line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not valid JSON"),
        ('{"url": "https://h.example/a"} x', "not valid JSON: Extra data"),
        (also('"x": "\0"'), "not valid JSON"),
        ("{}", '"url" is missing'),
        ('{"url": null}', '"url" is missing'),
        ('{"url": 1}', '"url" must be text, not a number'),
        ('{"url": true}', '"url" must be text, not true or false'),
        ('{"url": {}}', '"url" must be text, not an object'),
        ('{"url": []}', "empty list"),
        ('{"url": ["https://h.example/a", null]}', '"url" must be text, not null'),
        ('{"url": "ftp://h.example/"}', "ftp:// is not supported"),
        ('{"url": "https://h.example/a https://h.example/b"}', "second URL"),
        ('{"url": "https://h.example/\\u0000"}', "control character"),
        ('{"url": "https://h.example/\\ud800"}', "surrogate"),
        (also('"name": 1'), '"name" must be text, not a number'),
        (also('"name": ["x"]'), '"name" must be text, not a list'),
        (also('"checksum": "x"'), "sha256:HEX"),
        (also('"headers": ["X: y"]'), '"headers" must be an object of names and values, not a list'),
        (also('"headers": {"X": 1}'), '"headers" must be text, not a number'),
        (also('"headers": {"X": "a\\r\\nY: b"}'), "control character"),
        (also('"headers": {"X Y": "a"}'), "name of a header"),
        (also('"user_agent": false'), '"user_agent" must be text'),
        (also('"x": "\\udfff"'), "surrogate"),
        (also('"\\udfff": 1'), "surrogate"),
        (also('"x": NaN'), "NaN"),
        (also('"x": -Infinity'), "infinite"),
        (also('"x": 1e999'), "too large"),
        (also('"x": ' + "9" * 5000), "too large"),
        (also('"x": ' + "[" * 60 + "]" * 60), "nested deeper"),
        (also('"x": ' + '{"x":' * 60 + "1" + "}" * 60), "nested deeper"),
        (also('"x": ' + "[" * 9000), "nested too deep"),
        (also('"x": ' + "[" * 200_000), "more than 10,000 values"),
        (also('"x": [' + "{}, " * 10_000 + "1]"), "more than 10,000 values"),
        (also('"x": ["' + '", "'.join("a" * 10_001) + '"]'), "more than 10,000 values"),
        (json.dumps({"url": [f"https://h{number}.example/a.jpg" for number in range(MOST + 1)]}), "1,000 addresses"),
        (also('"headers": ' + json.dumps({f"X-{n}": "1" for n in range(MOST + 1)})), "1,000 headers"),
        (also('"name": "' + "n" * (LONGEST + 1) + '"'), "too long for a path"),
        (also('"referer": "http://h/' + "r" * LONGEST + '"'), "longer than any URL"),
        (also('"checksum": "' + " " * 900_000 + '"'), "the checksum cannot be used"),
        (json.dumps({"url": "https://h.example/" + "p" * LONGEST}), "longer than 32,768 characters"),
    ],
)
def test_a_json_line_that_cannot_be_used_says_why(line: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(line)
    assert said in str(caught.value)


def test_what_was_known_before_a_failure_is_kept() -> None:
    draft = Draft()
    with pytest.raises(InputError):
        read_mapping(draft, {"url": "https://h.example/a", "name": 1, "id": 7})
    assert (draft.address, draft.extra) == (A, {"id": 7})


def test_a_program_may_pass_any_objects_as_extra() -> None:
    thing = object()
    assert mapping(url=("https://h.example/a",), thing=thing).extra == {"thing": thing}


def test_keys_and_texts_of_a_program_are_checked() -> None:
    with pytest.raises(InputError, match="every key must be text"):
        read_mapping(Draft(), {1: 2, "url": "https://h.example/a"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="must be text, not bytes"):
        mapping(url=b"https://h.example/a")
    with pytest.raises(InputError, match='"name" is not valid Unicode'):
        mapping(url="https://h.example/a", name="\udc80")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("https://h.example/a"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(("url", "name", "checksum", "headers", "referer", "user_agent", "user-agent", "x"))


@given(st.dictionaries(KEYS, ANYTHING))
def test_any_json_object_is_read_or_refused(value: dict[str, object]) -> None:
    try:
        draft = from_json(json.dumps(value))
    except InputError:
        return
    assert draft.address is not None
    json.dumps(draft.extra, ensure_ascii=False, allow_nan=False).encode()


@given(st.text(string.printable), st.lists(st.text(string.printable)))
def test_any_text_is_read_or_refused(line: str, options: list[str]) -> None:
    for one in (line, "https://h.example/" + line):
        try:
            assert text(one, *options).address is not None
        except InputError:
            continue
