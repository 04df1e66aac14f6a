"""What a file is called."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from downloader import naming
from downloader.errors import NameRefused, UsageError
from downloader.mediatypes import MEDIA_EXTENSIONS
from downloader.naming import Template

RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE)
URL = "https://example.org/a/b/cat.jpg"

nasty = st.text() | st.text(' ._-~/\\:*?"<>|\0\n\x7f\x9f\u202e\u200b\u3000\ud800e\u0301图😀aZ.jpgpartconCOM1%')
urls = st.builds(
    "https://example.org/{}".format,
    nasty | nasty.map(lambda text: quote(text, safe="/?#", errors="replace")),
)


def assert_safe(component: str) -> None:
    assert component
    assert len(f"{component}.part".encode()) <= 255
    assert len(f"{component}.part.json".encode()) <= 255
    assert unicodedata.normalize("NFC", component) == component
    assert not set(component) & set('<>:"|?*\\/')
    assert not {unicodedata.category(c) for c in component} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for end in (component[0], component[-1]):
        assert end != "."
        assert not end.isspace()
    assert not RESERVED.fullmatch(component)
    assert not component.lower().endswith((".part", ".part.json"))
    assert naming.sanitise(component) == component


limits = st.integers(naming.SHORTEST, naming.LIMIT)


@given(nasty, urls, limits, st.integers(1, 9999))
def test_any_limit_is_kept_with_what_tells_names_apart(text: str, url: str, limit: int, number: int) -> None:
    name = naming.shortened(naming.sanitise(text), limit)
    made = {
        "": name,
        f"~{naming.url_hash(url)[:8]}": naming.collided(name, url, limit=limit),
        f"~{naming.url_hash(url)}": naming.collided(name, url, digits=16, limit=limit),
        f" ({number})": naming.numbered(name, number, limit=limit),
    }
    for suffix, each in made.items():
        assert len(each.encode()) <= limit
        assert naming.split(each)[0].endswith(suffix)
        assert naming.split(each)[1] == naming.split(name)[1]
        assert_safe(each)
    assert naming.shortened(name, limit) == name


@given(st.lists(nasty.map(naming.sanitise), min_size=1, max_size=4), limits)
def test_each_part_of_a_name_is_cut_by_itself(parts: list[str], limit: int) -> None:
    assert naming.shortened("/".join(parts), limit).split("/") == [naming.shortened(part, limit) for part in parts]


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("a" * 160 + ".png", 133, "a" * 129 + ".png"),
        ("a" * 160, 133, "a" * 133),
        ("图" * 60 + ".jpg", 133, "图" * 43 + ".jpg"),
        ("ok.png", 48, "ok.png"),
        ("d" * 60 + "/" + "a" * 60 + ".gif", 48, "d" * 48 + "/" + "a" * 44 + ".gif"),
        ("word " * 12 + ".png", 48, " ".join(["word"] * 9) + ".png"),
        ("a" * 43 + " " + "b" * 9 + ".png", 48, "a" * 43 + ".png"),
    ],
)
def test_a_name_is_cut_before_its_extension(name: str, limit: int, expected: str) -> None:
    assert naming.shortened(naming.sanitise(name) if "/" not in name else name, limit) == expected


def assert_safe_path(name: str) -> None:
    assert len(name.encode()) <= naming.PATH_LIMIT
    for component in name.split("/"):
        assert_safe(component)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.jpg", "cat.jpg"),
        (
            "my cat (1) [x] {y} #2 100% a&b;c,d=e@f!$'^`~+.jpg",
            "my cat (1) [x] {y} #2 100% a&b;c,d=e@f!$'^`~+.jpg",
        ),
        ("图 1.jpg", "图 1.jpg"),
        ("e\u0301.jpg", "\u00e9.jpg"),
        ('a/b\\c:d*e?f"g<h>i|j.jpg', "a_b_c_d_e_f_g_h_i_j.jpg"),
        ("a\0b\x1fc\x7fd\x9fe.jpg", "a_b_c_d_e.jpg"),
        ("cat\u202egpj.exe", "cat_gpj.exe"),
        ("\ufeffa\u200bb\u2066c\u2028d.jpg", "_a_b_c_d.jpg"),
        ("a\ud800b.jpg", "a_b.jpg"),
        (" . cat.jpg . ", "cat.jpg"),
        ("\u3000\u00a0cat.jpg\u2003\n", "cat.jpg"),
        (".htaccess", "htaccess"),
        ("..", "download"),
        (".", "download"),
        ("", "download"),
        (" \t", "download"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("-rf", "-rf"),
        ("~", "~"),
    ],
)
def test_a_name_is_made_safe(name: str, expected: str) -> None:
    assert naming.sanitise(name) == expected


@pytest.mark.parametrize(
    "device", ["con", "PRN", "Aux", "nul", "COM1", "com9", "COM²", "lpt1", "LPT³", "CONIN$", "conout$"]
)
def test_a_device_name_is_not_used_whatever_its_extension(device: str) -> None:
    for name in (device, f"{device}.jpg", f"{device} .jpg", f"{device}.tar.gz", f" {device}. "):
        assert naming.sanitise(name) == f"_{name.strip(' .')}"


@pytest.mark.parametrize("name", ["console.jpg", "com10", "com0.jpg", "acon", "com.jpg", "nul_.jpg", "conin"])
def test_what_only_resembles_a_device_name_is_kept(name: str) -> None:
    assert naming.sanitise(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.part", "a_part"),
        ("a.PART", "a_PART"),
        ("a.jpg.part.json", "a.jpg_part.json"),
        ("a.part.Json", "a_part.Json"),
        ("a.part.part", "a.part_part"),
        ("图.part", "图_part"),
        ("con.part", "_con_part"),
        (".part", "part"),
        ("a.part.jpg", "a.part.jpg"),
        ("a.json", "a.json"),
    ],
)
def test_no_name_is_that_of_another_files_part(name: str, expected: str) -> None:
    assert naming.sanitise(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a" * 245, "a" * 245),
        ("a" * 246, "a" * 245),
        ("a" * 242 + ".jpg", "a" * 241 + ".jpg"),
        ("图" * 100 + ".jpg", "图" * 80 + ".jpg"),
        ("😀" * 100, "😀" * 61),
        ("a" * 240 + " " * 20 + ".jpg", "a" * 240 + ".jpg"),
        ("a" * 244 + " b", "a" * 244),
        ("a" * 243 + "x\u0323", "a" * 243),
        ("a" * 240 + "x" + "\u0323" * 9, "a" * 240),
        ("\u0323" * 300, "\u0323" * 122),
        ("a" * 240 + ".part" + "b" * 20, "a" * 240 + "_part"),
        (" " * 5000 + "a" * 5000 + ".jpg", "a" * 241 + ".jpg"),
    ],
)
def test_a_long_name_is_cut_before_its_extension_and_between_characters(name: str, expected: str) -> None:
    assert naming.sanitise(name) == expected


def test_a_hostile_pile_of_combining_marks_is_quick() -> None:
    assert_safe(naming.sanitise("a" + "\u0301\u0323" * 500_000 + ".jpg"))


@given(nasty)
@example("con" + "\u0338")
@example("<\u0338")
@example("x" * 241 + "e\u0301.part")
def test_any_text_becomes_one_safe_component(text: str) -> None:
    assert_safe(naming.sanitise(text))


@given(st.text(st.characters(categories=["L", "N", "M", "So"]) | st.sampled_from(". "), min_size=200, max_size=700))
def test_any_long_text_becomes_one_safe_component(text: str) -> None:
    assert_safe(naming.sanitise(text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.jpg", "cat.jpg"),
        ("a/b/cat.jpg", "a/b/cat.jpg"),
        ("a//./b/ /cat.jpg", "a/b/cat.jpg"),
        ("a/b/", "a/b"),
        ("a:b/.c/con", None),
        ("aa:b/.c/con", "aa_b/c/_con"),
        ("a\\b.jpg", "a_b.jpg"),
        ("~/cat.jpg", "~/cat.jpg"),
        ("...x/y", "x/y"),
        ("a..b/c..", "a..b/c"),
        ("/cat.jpg", None),
        ("\\cat.jpg", None),
        ("\\\\server\\share", None),
        ("C:\\cat.jpg", None),
        ("c:cat.jpg", None),
        ("..", None),
        ("../cat.jpg", None),
        ("a/../cat.jpg", None),
        ("a/..", None),
        ("a/.. /cat.jpg", None),
        ("a\\..\\cat.jpg", None),
        ("", None),
        (".", None),
        (" / / ", None),
        ("a/" * 65 + "b", None),
        (("a" * 240 + "/") * 17 + "b", None),
    ],
)
def test_an_explicit_name_stays_in_the_output_folder_or_is_refused(name: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(NameRefused):
            naming.relative(name)
    else:
        assert naming.relative(name) == expected


def test_a_refusal_shows_the_name_without_control_characters() -> None:
    with pytest.raises(NameRefused, match=r"^'/a\\x1b\[2J\\u202e图' is absolute"):
        naming.relative("/a\x1b[2J\u202e图")


@given(nasty)
def test_any_explicit_name_is_refused_or_safe(name: str) -> None:
    try:
        result = naming.relative(name)
    except NameRefused:
        return
    assert_safe_path(result)
    assert naming.relative(result) == result


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a/b/cat.jpg", "cat.jpg"),
        ("https://example.org/cat.jpg?size=big/x.png", "cat.jpg"),
        ("https://example.org/cat.jpg#/x.png", "cat.jpg"),
        ("https://example.org/cat.jpg#a?b", "cat.jpg"),
        ("https://example.org", "download"),
        ("https://example.org/", "download"),
        ("https://example.org?x=/cat.jpg", "download"),
        ("https://example.org/a/b/", "b"),
        ("https://example.org/%E5%9B%BE%201.jpg", "图 1.jpg"),
        ("https://example.org/图.jpg", "图.jpg"),
        ("https://example.org/na%EFve.jpg", "naïve.jpg"),
        ("https://example.org/a%2Fb%5Cc.jpg", "a_b_c.jpg"),
        ("https://example.org/%2e%2e", "download"),
        ("https://example.org/..%2f..%2fetc", "_.._etc"),
        ("https://example.org/a%00b.jpg", "a_b.jpg"),
        ("https://example.org/a%3Fb%23c.jpg", "a_b#c.jpg"),
        ("https://example.org/100%.jpg", "100%.jpg"),
        ("https://example.org/a+b.jpg", "a+b.jpg"),
        ("https://example.org/con.jpg", "_con.jpg"),
        ("", "download"),
        ("cat.jpg", "download"),
    ],
)
def test_a_url_gives_its_last_segment(url: str, expected: str) -> None:
    assert naming.from_url(url) == expected


@given(urls | nasty)
def test_any_url_gives_a_safe_component(url: str) -> None:
    assert_safe(naming.from_url(url))


@given(nasty)
def test_query_and_fragment_never_get_into_a_name(text: str) -> None:
    assert naming.from_url(f"https://example.org/cat.jpg?{text}") == "cat.jpg"
    assert naming.from_url(f"https://example.org/cat.jpg#{text}") == "cat.jpg"


@pytest.mark.parametrize(
    ("name", "stem", "extension"),
    [
        ("cat.jpg", "cat", ".jpg"),
        ("a/b.c/cat.JPG", "a/b.c/cat", ".JPG"),
        ("cat.tar.gz", "cat.tar", ".gz"),
        ("clip.3gp", "clip", ".3gp"),
        ("cat", "cat", ""),
        ("photo.2024", "photo.2024", ""),
        ("v1.2", "v1.2", ""),
        ("raw.264", "raw", ".264"),
        ("Mr. Cat", "Mr. Cat", ""),
        ("cat.jpg_large", "cat.jpg_large", ""),
        ("cat.图", "cat.图", ""),
        ("cat.abcdefghij", "cat", ".abcdefghij"),
        ("cat.abcdefghijk", "cat.abcdefghijk", ""),
        ("a.b/cat", "a.b/cat", ""),
    ],
)
def test_a_name_is_split_before_its_extension(name: str, stem: str, extension: str) -> None:
    assert naming.split(name) == (stem, extension)


@given(nasty)
def test_the_parts_of_a_name_make_the_name(text: str) -> None:
    name = naming.sanitise(text)
    stem, extension = naming.split(name)
    assert stem + extension == name
    assert stem


@pytest.mark.parametrize(
    ("name", "extension", "expected"),
    [
        ("cat", ".jpg", "cat.jpg"),
        ("cat", "jpg", "cat.jpg"),
        ("cat", None, "cat"),
        ("cat", "", "cat"),
        ("cat.jpg", ".png", "cat.jpg"),
        ("cat.JPG", ".jpg", "cat.JPG"),
        ("cat.xyz", ".jpg", "cat.xyz"),
        ("photo.2024", ".jpg", "photo.2024.jpg"),
        ("v1.2", ".mp4", "v1.2.mp4"),
        ("portrait.annamaria", ".jpg", "portrait.annamaria.jpg"),
        ("a.torrent", ".torrent", "a.torrent"),
        ("a.sub/cat", ".jpg", "a.sub/cat.jpg"),
        ("show.php", ".jpg", "show.php.jpg"),
        ("view.HTML", ".png", "view.HTML.png"),
        ("show.php", ".html", "show.php"),
        ("show.php", None, "show.php"),
        ("图" * 81, ".jpg", "图" * 80 + ".jpg"),
    ],
)
def test_an_extension_is_added_where_there_is_none(name: str, extension: str | None, expected: str) -> None:
    assert naming.with_extension(name, extension) == expected


@given(nasty, st.sampled_from([*sorted(MEDIA_EXTENSIONS), ".html", ".bin"]))
def test_adding_an_extension_keeps_a_name_safe_and_is_done_once(text: str, extension: str) -> None:
    name = naming.with_extension(naming.sanitise(text), extension)
    assert_safe(name)
    assert naming.split(name)[1]
    assert naming.with_extension(name, extension) == name


@pytest.mark.parametrize("name", [f"cat{extension}" for extension in sorted(MEDIA_EXTENSIONS)])
def test_every_media_extension_counts_as_one(name: str) -> None:
    assert naming.with_extension(name, ".other") == name


def test_a_collision_is_resolved_by_the_urls_hash() -> None:
    # Fixed digits: files of earlier runs must be found again.
    assert naming.url_hash(URL) == "ebc3c0d44b951b2a"
    assert naming.collided("cat.jpg", URL) == "cat~ebc3c0d4.jpg"
    assert naming.collided("a/b.c/cat", URL, digits=16) == "a/b.c/cat~ebc3c0d44b951b2a"
    assert naming.collided("photo.2024", URL) == "photo.2024~ebc3c0d4"


@given(nasty, urls, urls)
def test_different_urls_collide_into_different_safe_names(text: str, one: str, other: str) -> None:
    assume(one != other)
    name = naming.sanitise(text)
    names = [naming.collided(name, url, digits=16) for url in (one, other)]
    assert names[0] != names[1]
    for result in names:
        assert_safe(result)
        assert naming.split(result)[1] == naming.split(name)[1]


def test_a_collision_keeps_a_long_name_within_the_limit() -> None:
    name = "图" * 80 + ".jpg"
    result = naming.collided(name, URL)
    assert re.fullmatch("图{77}~[0-9a-f]{8}[.]jpg", result)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("cat.jpg", 1, "cat (1).jpg"),
        ("a/b.c/cat", 12, "a/b.c/cat (12)"),
        ("v1.2", 1, "v1.2 (1)"),
        ("a" * 241 + ".jpg", 1, "a" * 237 + " (1).jpg"),
    ],
)
def test_a_number_goes_before_the_extension(name: str, number: int, expected: str) -> None:
    assert naming.numbered(name, number) == expected


@given(nasty, st.integers(1, 10**9))
def test_a_numbered_name_is_safe(text: str, number: int) -> None:
    assert_safe(naming.numbered(naming.sanitise(text), number))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Cat.JPG", "cat.jpg", True),
        ("\u00e9.jpg", "E\u0301.jpg", True),
        ("straße", "STRASSE", True),
        ("Σ", "ς", True),
        ("a/Cat", "A/cat", True),
        ("cat.jpg", "cat.png", False),
        ("图", "图1", False),
    ],
)
def test_names_that_a_file_system_may_fold_share_a_key(one: str, other: str, same: bool) -> None:
    assert (naming.key(one) == naming.key(other)) is same


@given(nasty)
def test_a_key_is_the_same_for_both_normal_forms_and_cases(text: str) -> None:
    name = naming.sanitise(text)
    assert naming.key(unicodedata.normalize("NFD", name)) == naming.key(name)
    assert naming.key(naming.key(name)) == naming.key(name)


def render(template: str, url: str = URL, index: int = 7, extension: str | None = None) -> str:
    return naming.choose(explicit=None, template=Template(template), url=url, index=index, extension=extension)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{name}", "cat.jpg"),
        ("{stem}{ext}", "cat.jpg"),
        ("{stem:.2}{ext}", "ca.jpg"),
        ("{stem:_>6}{ext}", "___cat.jpg"),
        ("{index:06d}{ext}", "000007.jpg"),
        ("{index}-{name}", "7-cat.jpg"),
        ("{index:x}{ext}", "7.jpg"),
        ("{index:/>4}{ext}", "___7.jpg"),
        ("{host}/{path}", "example.org/a/b/cat.jpg"),
        ("{host}/{name}", "example.org/cat.jpg"),
        ("{hash}{ext}", "ebc3c0d44b951b2a.jpg"),
        ("{hash:.4}/{name}", "ebc3/cat.jpg"),
        ("{{{name}}}", "{cat.jpg}"),
        ("./x//{name}", "x/cat.jpg"),
        ("{ext}/{stem}", "jpg/cat"),
        ("con/{name}", "_con/cat.jpg"),
        ("图/{name}", "图/cat.jpg"),
    ],
)
def test_a_template_makes_the_name(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://EXAMPLE.org:8080/a/cat.jpg", "example.org/a/cat.jpg"),
        ("https://me:pw@example.org/cat.jpg", "example.org/cat.jpg"),
        ("https://[::1]:8080/cat.jpg", "__1/cat.jpg"),
        ("https://example.org/a%2Fb/%2e%2e/%E5%9B%BE.jpg", "example.org/a_b/图.jpg"),
        ("https://example.org/../../cat.jpg", "example.org/cat.jpg"),
        ("https://example.org/a//b/cat.jpg?x=/../y#/z", "example.org/a/b/cat.jpg"),
        ("https://example.org/a/b/", "example.org/a/b/download"),
        ("https://example.org", "example.org/download"),
    ],
)
def test_host_and_path_mirror_the_site(url: str, expected: str) -> None:
    assert render("{host}/{path}", url) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{nope}", r"\{nope\} at position 1 is no field; there are \{name\} .* \{hash\}"),
        ("a/{}", r"\{\} at position 3 is no field"),
        ("{0}", "no field"),
        ("{name.__class__}", "no field"),
        ("{name[0]}", "no field"),
        ("{name!r}", "no field"),
        ("{ name}", "no field"),
        ("ab{name", r"\{ at position 3 has no partner"),
        ("name}", r"\} at position 5 has no partner"),
        ("{index:{index}}", r"\{ at position 1 has no partner"),
        ("{name:d}", "'d' at position 1 is no format for name, as '.20' is"),
        ("{index:s}", "no format for index, as '06d' is"),
        ("{index:c}", "no format"),
        ("{index:n}", "no format"),
        ("{index:,x}", "no format"),
        ("{index:.3}", "no format"),
        ("{index:9999999999d}", "no format"),
        ("{name:>246}", "no format"),
        ("{name:." + "9" * 5000 + "}", "no format"),
        ("/{name}", "is absolute"),
        ("C:{name}", "is absolute"),
        ("../{name}", r"has a '\.\.'"),
        ("a/../{name}", r"has a '\.\.'"),
        ("", "names no file"),
        ("{host}/", "names no file"),
        ("{host}/.", "names no file"),
        (" ", "names no file"),
    ],
)
def test_a_template_that_cannot_work_is_refused_at_once(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^--name: .*{message}"):
        Template(template)


@pytest.mark.parametrize(
    ("template", "needed"),
    [
        ("{host}/{path}", False),
        ("{index}{hash}", False),
        ("x", False),
        ("{index}{ext}", True),
        ("{stem}", True),
        ("a/{name:.3}", True),
        ("{{name}}", False),
    ],
)
def test_a_template_knows_whether_it_needs_the_response(template: str, needed: bool) -> None:
    assert Template(template).needs_response is needed


pieces = st.sampled_from(
    [
        "{name}",
        "{stem}",
        "{ext}",
        "{host}",
        "{path}",
        "{index:03d}",
        "{hash}",
        "{stem:.3}",
        "{path:/>9}",
        "{ext:.^5}",
        "/",
        ".",
        "..",
        " ",
        "a",
        "con",
        "{{",
        "}}",
        "\\",
        "~",
        "图",
    ]
)


@given(st.lists(pieces, max_size=8).map("".join), st.lists(nasty, min_size=6, max_size=6), st.integers(0))
def test_no_template_and_no_fields_lead_outside(text: str, values: list[str], index: int) -> None:
    try:
        template = Template(text)
    except UsageError:
        assume(False)
    fields: dict[str, str | int] = dict(zip(("name", "stem", "ext", "host", "path", "hash"), values, strict=True))
    assert_safe_path(template.render({**fields, "index": index}))


def test_a_template_that_makes_a_path_too_long_fails_the_item() -> None:
    with pytest.raises(NameRefused, match="too long"):
        render("{path}", f"https://example.org/{'a' * 200 + '/'}" * 25)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "cat.jpg"),
        ({"extension": ".png"}, "cat.jpg"),
        ({"url": "https://example.org/cat", "extension": ".png"}, "cat.png"),
        ({"url": "https://example.org/", "extension": ".png"}, "download.png"),
        ({"url": "https://example.org/get.php?id=3", "extension": ".png"}, "get.php.png"),
        ({"url": "https://example.org/", "final_url": "https://cdn.example.org/dog.gif"}, "dog.gif"),
        ({"final_url": "https://cdn.example.org/dog.gif"}, "cat.jpg"),
        ({"disposition": 'attachment; filename="dog.gif"'}, "dog.gif"),
        ({"disposition": 'attachment; filename="../a/dog"', "extension": ".gif"}, "dog.gif"),
        ({"disposition": "attachment; filename=.."}, "cat.jpg"),
        ({"disposition": "attachment"}, "cat.jpg"),
        ({"disposition": "filename=dog.gif", "template": Template("{index}{ext}")}, "1.gif"),
        ({"template": Template("{index:03d}"), "extension": ".jpg"}, "001.jpg"),
        ({"template": Template("{name}"), "explicit": "mine"}, "mine"),
        ({"explicit": "a/mine", "disposition": "filename=dog.gif", "extension": ".gif"}, "a/mine"),
        ({"explicit": "pics/"}, "pics/cat.jpg"),
        ({"explicit": "./"}, "cat.jpg"),
        (
            {"explicit": "pics/new/", "template": Template("{host}/{index}{ext}")},
            "pics/new/example.org/1.jpg",
        ),
        ({"explicit": ""}, "cat.jpg"),
    ],
)
def test_the_list_then_the_template_then_the_server_then_the_url_names_a_file(
    choice: dict[str, str], expected: str
) -> None:
    settings: dict[str, object] = {"explicit": None, "template": None, "url": URL, "index": 1, **choice}
    assert naming.choose(**settings) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("explicit", ["/a", "../a", "../", "a/../", "C:/", "/"])
def test_an_explicit_name_outside_the_folder_is_refused_by_all(explicit: str) -> None:
    with pytest.raises(NameRefused):
        naming.choose(explicit=explicit, template=None, url=URL, index=1)
    with pytest.raises(NameRefused):
        naming.known_beforehand(explicit=explicit, template=None, url=URL, index=1)


@given(
    urls,
    nasty,
    st.sampled_from([None, ".jpg", ".html"]),
    st.sampled_from(["{name}", "{host}/{path}", "{stem}"]),
)
def test_any_response_gives_a_safe_name(url: str, sent: str, extension: str | None, template: str) -> None:
    for chosen in (None, Template(template)):
        name = naming.choose(
            explicit=None,
            template=chosen,
            url=url,
            index=1,
            disposition=f"attachment; filename={sent}",
            extension=extension,
        )
        assert_safe_path(name)


def known(url: str = URL, *, explicit: str | None = None, template: str | None = None) -> str | None:
    parsed = Template(template) if template else None
    return naming.known_beforehand(explicit=explicit, template=parsed, url=url, index=7)


@pytest.mark.parametrize(
    ("beforehand", "expected"),
    [
        (known(), "cat.jpg"),
        (known("https://example.org/cat.JPG?x=1"), "cat.JPG"),
        (known("https://example.org/cat"), None),
        (known("https://example.org/cat.php"), None),
        (known("https://example.org/cat.xyz"), None),
        (known("https://example.org/"), None),
        (known(explicit="mine"), "mine"),
        (known("https://example.org/cat", explicit="a/mine.x"), "a/mine.x"),
        (known(explicit="pics/"), "pics/cat.jpg"),
        (known("https://example.org/cat", explicit="pics/"), None),
        (known(template="{host}/{path}"), "example.org/a/b/cat.jpg"),
        (known("https://example.org/cat", template="{host}/{path}"), None),
        (known("https://example.org/cat", template="{index:03d}.dat"), "007.dat"),
        (known(template="{index:03d}"), None),
        (known(template="{index:03d}{ext}"), "007.jpg"),
        (known("https://example.org/cat", template="{index:03d}{ext}"), None),
        (known(template="{stem}"), None),
    ],
)
def test_a_name_is_known_beforehand_only_where_it_is_certain(beforehand: str | None, expected: str | None) -> None:
    assert beforehand == expected


@given(
    st.builds("{}{}".format, urls, st.sampled_from([".jpg", ".MP4", ".php", ""])),
    st.sampled_from([None, "{host}/{path}", "{index}{ext}", "{hash}", "{stem}", "{name}_{index}"]),
    st.sampled_from([None, *sorted(MEDIA_EXTENSIONS), ".html", ".bin"]),
)
def test_a_name_known_beforehand_is_the_one_chosen(url: str, template: str | None, extension: str | None) -> None:
    name = known(url, template=template)
    if name is None:
        return
    parsed = Template(template) if template else None
    assert naming.choose(explicit=None, template=parsed, url=url, index=7, extension=extension) == name
