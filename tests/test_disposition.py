"""The file name in a Content-Disposition header."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.disposition import filename
from downloader.text import EDGES


def wire(value: str) -> str:
    """What a client sees of a header sent in UTF-8."""
    return value.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('attachment; filename="cat.jpg"', "cat.jpg"),
        ("attachment; filename=cat.jpg", "cat.jpg"),
        ("attachment;filename=cat.jpg;", "cat.jpg"),
        ('inline; filename="cat.jpg"', "cat.jpg"),
        ('INLINE; FileName="cat.jpg"', "cat.jpg"),
        ('attachment ; filename\t=\t"cat.jpg" ; size=3', "cat.jpg"),
        ('attachment; size=3; filename="cat;dog.jpg"', "cat;dog.jpg"),
        ("attachment; x=\"filename=no.jpg; filename*=UTF-8''no.jpg\"; filename=cat.jpg", "cat.jpg"),
        ("attachment; xfilename=no.jpg", None),
        ("attachment; filename-x=no.jpg", None),
        ("attachment", None),
        ("", None),
        (";;;", None),
        ("=", None),
        ("attachment; filename", None),
        ("attachment; filename=", None),
        ('attachment; filename=""', None),
        ("attachment; filename=..", None),
        ('attachment; filename="a/.."', None),
        ('attachment; filename=" . "', None),
    ],
)
def test_a_plain_filename_is_found(value: str, expected: str | None) -> None:
    assert filename(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (r'attachment; filename="\"cat\".jpg"', '"cat".jpg'),
        (r'attachment; filename="c\at.jpg"', "cat.jpg"),
        (r'attachment; filename="cat.jpg\"', 'cat.jpg"'),
        ('attachment; filename="cat.jpg', "cat.jpg"),
        ('attachment; filename="', None),
        ("attachment; filename=my cat.jpg; size=3", "my cat.jpg"),
        ("attachment; filename='cat.jpg'", "'cat.jpg'"),
        ('filename="cat.jpg"', "cat.jpg"),
        ("attachment filename=cat.jpg", "cat.jpg"),
        ('attachment; filename="cat.jpg"rubbish; size=3', "cat.jpg"),
        ('attachment; filename="cat.jpg"; filename="dog.jpg"', "cat.jpg"),
        ('attachment; filename=""; filename="dog.jpg"', "dog.jpg"),
        ("attachment; filename*=UTF-8''%ff; filename*=UTF-8''dog.jpg", "dog.jpg"),
    ],
)
def test_sloppy_quoting_and_repetition_are_understood(value: str, expected: str | None) -> None:
    assert filename(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates.jpg", "€ rates.jpg"),
        ("attachment; filename*=utf-8'en'cat.jpg", "cat.jpg"),
        ("attachment; filename*=iso-8859-1'en'%A3%20rates.jpg", "£ rates.jpg"),
        ("attachment; filename=a.jpg; filename*=UTF-8''b.jpg", "b.jpg"),
        ("attachment; FILENAME*=UTF-8''b.jpg; filename=a.jpg", "b.jpg"),
        ("attachment; filename*=\"UTF-8''b%41.jpg\"", "bA.jpg"),
        ("attachment; filename*=UTF-8''\"b.jpg\"", "b.jpg"),
        (wire("attachment; filename*=UTF-8''图.jpg"), "图.jpg"),
        ("attachment; filename*=UTF-8''it's.jpg", "it's.jpg"),
    ],
)
def test_filename_star_is_decoded_and_comes_first(value: str, expected: str) -> None:
    assert filename(value) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "b.jpg",
        "''b.jpg",
        "UTF-8'b.jpg",
        "UTF-8''",
        "UTF-8''%",
        "UTF-8''%4",
        "UTF-8''b%zz.jpg",
        "UTF-8''%ff.jpg",
        "koi8-r''b.jpg",
        "no-such''b.jpg",
        "rot13''b.jpg",
        "",
    ],
)
def test_a_malformed_filename_star_yields_to_filename(bad: str) -> None:
    assert filename(f"attachment; filename*={bad}; filename=a.jpg") == "a.jpg"
    assert filename(f"attachment; filename*={bad}") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (wire('attachment; filename="图 1.jpg"'), "图 1.jpg"),
        # Letters whose last byte in UTF-8 is A0 or 85, bare at the end too.
        (wire("attachment; filename=voilà"), "voilà"),
        (wire("attachment; filename=voilà;"), "voilà"),
        (wire('attachment; filename="успех"'), "успех"),
        (wire("attachment; filename=Š"), "Š"),
        (wire("attachment; filename*=UTF-8''voilà"), "voilà"),
        (wire("attachment; filename=\xa0à.jpg\u3000"), "à.jpg"),
        ("attachment; filename=\xe9t\xe9", "été"),
        # A byte that is no blank is no blank before a name either.
        ("attachment;\xa0filename=a.jpg", None),
        ("attachment; filename=\x85", None),
        ("attachment; filename*=UTF-8\xa0''a.jpg", None),
        ('attachment; filename="na\xefve.jpg"', "naïve.jpg"),
        ('attachment; filename="图.jpg"', "图.jpg"),
        ('attachment; filename="\ud800.jpg"', "\ud800.jpg"),
        ('attachment; filename="%E5%9B%BE%201.jpg"', "图 1.jpg"),
        ("attachment; filename=my%20cat.jpg", "my cat.jpg"),
        ("attachment; filename=foo-%41.jpg", "foo-%41.jpg"),
        ("attachment; filename=100%.jpg", "100%.jpg"),
        ("attachment; filename=100%20%.jpg", "100%20%.jpg"),
        ("attachment; filename=%ff%fe.jpg", "%ff%fe.jpg"),
    ],
)
def test_raw_bytes_and_needed_escapes_are_decoded_in_a_plain_filename(value: str, expected: str) -> None:
    assert filename(value) == expected


@pytest.mark.parametrize(
    "sent",
    [
        "../../cat.jpg",
        "/etc/cat.jpg",
        "a/b/cat.jpg",
        "..%2F..%2Fcat.jpg",
        "..%5Ccat.jpg",
        '"C:\\Users\\me\\cat.jpg"',
        '"..\\\\..\\\\cat.jpg"',
        '"cat.jpg/"',
    ],
)
def test_only_the_last_path_component_counts(sent: str) -> None:
    assert filename(f"attachment; filename={sent}") == "cat.jpg"
    if not sent.startswith('"'):
        assert filename(f"attachment; filename*=UTF-8''{sent}") == "cat.jpg"


@given(st.text() | st.text("filenam*=\"'\\;% /.UTF-8\t\xe9\xc3"))
def test_no_header_raises_or_names_a_path(value: str) -> None:
    for header in (value, f"attachment; filename={value}", f"attachment; filename*=UTF-8''{value}"):
        name = filename(header)
        if name is not None:
            assert name == name.strip(EDGES) != ""
            assert "/" not in name
            assert "\\" not in name


@given(st.text(st.characters(exclude_characters='"\\/%', exclude_categories=["Cc", "Cs"]), min_size=1))
def test_a_quoted_utf8_name_comes_back(name: str) -> None:
    assert filename(wire(f'attachment; filename="{name}"')) == (name.strip(EDGES) or None)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        ";",
        "=",
        '"',
        "\\",
        '\\"',
        '"\\',
        "%",
        "%41",
        "%E5",
        "'",
        "/",
        "..",
        "\xff",
        "a=",
        "a;",
        '"";',
        " a",
        "filename=;",
        "filename*=;",
        'filename="',
        "filename*=UTF-8''%;",
    ],
)
def test_a_hostile_header_takes_linear_time(unit: str) -> None:
    body = unit * (100_000 // len(unit))
    started = time.process_time()
    for header in (body, f"a; filename={body}", f'a; filename="{body}', f"a; filename*=UTF-8''{body}"):
        filename(header)
    assert time.process_time() - started < 1
