"""Lists, pipes, arguments and programs to items: one result for each meaningful line, whatever it holds."""

from __future__ import annotations

import errno
import itertools
import os
import re
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downloader import sources
from downloader.entries import LONGEST
from downloader.errors import InputError, UsageError
from downloader.items import Address, BadItem, Checksum, Item

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    Chunks = Generator[bytes | None, None, None]

SHA256 = "0123456789abcdef" * 4


def stream(chunks: Iterable[bytes | None]) -> Chunks:
    """Chunks as a reader gives them."""
    yield from chunks


def read_bytes(data: bytes | Iterable[bytes | None], warned: list[str] | None = None) -> list[Item | BadItem]:
    """Read a list from standard input, in one chunk or in those given."""
    chunks = [data] if isinstance(data, bytes) else data
    warn = ([] if warned is None else warned).append
    return list(sources.read(["-"], chunks=lambda _: stream(chunks), warn=warn))


def plain(result: Item | BadItem) -> object:
    """Turn a result into a value that compares: errors do not."""
    if isinstance(result, Item):
        return result
    return str(result.error), result.index, result.source, result.line, result.text, result.url, result.extra


def placeless(item: Item) -> Item:
    return replace(item, index=0, source="", line=0)


def items_of(results: Iterable[Item | BadItem]) -> list[Item]:
    return [placeless(result) for result in results if isinstance(result, Item)]


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_bytes(
        b"\xef\xbb\xbf# pets\r\n"
        b"https://h.example/1\r\n"
        b"\r\n"
        b"https://h.example/2 cats/my cat.jpg\n"
        b"ftp://h.example/3\n"
        b"https://h.example/4\n"
        b"  out=dog.jpg\n"
        b'{"url": "https://h.example/5", "id": 5}\n'
        b"https://h.example/6\xff\n"
        b"https://u:p@h.example/7"
    )
    name = str(path)
    results = list(sources.read([name]))
    h = "https://h.example/"
    assert [result for result in results if isinstance(result, Item)] == [
        Item(Address(h + "1"), 1, source=name, line=2, text=b"https://h.example/1"),
        Item(Address(h + "2"), 2, "cats/my cat.jpg", source=name, line=4, text=b"https://h.example/2 cats/my cat.jpg"),
        Item(Address(h + "4"), 4, "dog.jpg", source=name, line=6, text=b"https://h.example/4\n  out=dog.jpg"),
        Item(
            Address(h + "5"), 5, extra={"id": 5}, source=name, line=8, text=b'{"url": "https://h.example/5", "id": 5}'
        ),
        Item(Address(h + "7", "u", "p"), 7, source=name, line=10, text=b"https://u:p@h.example/7"),
    ]
    assert [plain(result) for result in results if isinstance(result, BadItem)] == [
        (
            f"{name}:5: ftp:// is not supported: gdl downloads http and https URLs",
            *(3, name, 5, b"ftp://h.example/3", None, None),
        ),
        (
            f"{name}:9: this line is not UTF-8: save the list as UTF-8",
            *(6, name, 9, b"https://h.example/6\xff", None, None),
        ),
    ]
    assert sources.count(name) == len(results)


@pytest.mark.parametrize("end", [b"\n", b" \n", b"\t\r\n"])
@pytest.mark.parametrize(
    "lines",
    [
        [b" \f https://h.example/\xd1\x85 NAME"],
        [b"https://h.example/\xd1\x85\tNAME"],
        [b"https://h.example/\xd1\x85", b"  out=NAME"],
        [b'{"url": "https://h.example/\xd1\x85", "name": " NAME"}'],
    ],
)
def test_bytes_a0_and_85_belong_to_urls_and_names(lines: list[bytes], end: bytes) -> None:
    name = "\xa0voilà\x85"
    results = read_bytes(b"".join(line.replace(b"NAME", name.encode()) + end for line in lines))
    assert [(item.address, item.name) for item in items_of(results)] == [(Address("https://h.example/%D1%85"), name)]


def test_all_that_json_and_options_may_say_reaches_the_item() -> None:
    line = (
        b'{"url": ["https://h.example/a", "https://h.example/b"], "name": "x", "checksum": "sha256:%s",'
        b' "headers": {"X-A": "b"}, "referer": "https://h.example/", "user_agent": "y", "id": 1}'
    ) % SHA256.encode()
    assert read_bytes(line) == [
        Item(
            Address("https://h.example/a"),
            name="x",
            mirrors=(Address("https://h.example/b"),),
            checksum=Checksum("sha256", SHA256),
            headers=(("X-A", "b"),),
            referer="https://h.example/",
            user_agent="y",
            extra={"id": 1},
            source="-",
            line=1,
            text=line,
        )
    ]


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1])
def test_a_plain_url_may_be_so_long(length: int) -> None:
    url = "https://h.example/".ljust(length, "x")
    (found,) = read_bytes(url.encode())
    assert found.url == (url if length == LONGEST else None)
    assert isinstance(found, Item) is (length == LONGEST)


@pytest.mark.parametrize(
    "argument", ["https://h.example/a#" + "#" * 100_000, "https://h.example/a?" + " " * 100_000 + "x"]
)
def test_a_strange_argument_is_read_in_no_time(argument: str) -> None:
    (found,) = sources.read([argument])
    assert "longer than" in str(getattr(found, "error", None))


def test_sources_are_numbered_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a b.ndjson"
    path.write_bytes(b'{"url": "https://h.example/2"}\nhttps://h.example/3\n')
    chunks = [b"https://h.example/4\n"]
    argument = "https://h.example/a b.jpg"
    lists = {str(path): [path.read_bytes()], 0: chunks}
    results = list(sources.read([argument, str(path), "-"], chunks=lambda source: stream(lists[source])))
    assert [(result.index, result.source, result.line) for result in results] == [
        (1, "argument", 0),
        (2, str(path), 1),
        (3, str(path), 2),
        (4, "-", 1),
    ]
    assert results[0] == Item(
        Address("https://h.example/a%20b.jpg"), source="argument", text=b"https://h.example/a%20b.jpg"
    )
    assert isinstance(results[2], BadItem)
    assert "no JSON object" in str(results[2].error)


@pytest.mark.parametrize(
    ("argument", "message", "text"),
    [
        (
            "ftp://u:p w@h.example/x",
            "ftp://***@h.example/x: ftp:// is not supported: gdl downloads http and https URLs",
            b"ftp://u:p%20w@h.example/x",
        ),
        ("ftp://u:p\xa0w@h/x", "ftp://***@h/x: ftp:// is not supported", "ftp://u:p\xa0w@h/x".encode()),
        ("http://u:p/w@h.example/", "http://***@h.example/: the host or port is not valid", b"http://u:p/w@h.example/"),
        ("http://h.example/\udcff", "http://h.example/\\udcff: the URL is not valid Unicode", b"http://h.example/\xff"),
        (
            "http://h.example/a\nb",
            "http://h.example/a%0Ab: the URL holds a control character",
            b'{"url": "http://h.example/a\\nb"}',
        ),
    ],
)
def test_an_argument_that_cannot_be_used_is_its_own_place(argument: str, message: str, text: bytes) -> None:
    (result,) = sources.read([argument])
    assert isinstance(result, BadItem)
    assert str(result.error).startswith(message.replace("%0A", "%20"))
    assert (result.source, result.line, result.text) == ("argument", 0, text)


def test_what_is_known_of_a_bad_line_comes_back() -> None:
    (result,) = read_bytes(b'{"url": "https://u:p@h.example/a", "name": 1, "id": 7}')
    assert isinstance(result, BadItem)
    assert (result.url, result.extra) == ("https://h.example/a", {"id": 7})
    assert str(result.error) == '-:1: "name" must be text, not a number'


def test_an_unsupported_option_is_warned_of_once() -> None:
    warned: list[str] = []
    results = read_bytes(b"https://h.example/a\n  split=5\n" * 3 + b"  all-proxy=http://u:p@h\n", warned)
    assert len(results) == 3
    assert warned == [
        "-:1: the option split is not supported and ignored",
        "-:5: the option all-proxy is not supported and ignored",
    ]


def test_warnings_have_an_end() -> None:
    warned: list[str] = []
    read_bytes(b"".join(b"https://h.example/a\n  x%d=5\n" % number for number in range(1000)), warned)
    assert len(warned) == 100


def test_items_come_as_soon_as_they_can() -> None:
    events: list[str] = []

    def chunks(_: str | int) -> Chunks:
        yield b"https://h.example/1\nhttps://h.exam"
        events.append("idle")
        yield None
        events.append("more")
        yield b"ple/2\n  "
        yield None
        yield b"out=x\n"
        yield None
        events.append("end")

    for result in sources.read(["-"], chunks=chunks):
        assert isinstance(result, Item)
        events.append(f"{result.url[-1]} {result.name}")
    assert events == ["idle", "1 None", "more", "2 x", "end"]


def test_an_endless_list_is_read_as_far_as_it_is_wanted_and_then_closed(tmp_path: Path) -> None:
    closed: list[str | int] = []

    def endless(name: str | int) -> Chunks:
        try:
            while True:
                yield b"https://h.example/1\n" * 100
        finally:
            closed.append(name)

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in ("-", str(pipe)):
        results = sources.read([source], chunks=endless)
        assert len(list(itertools.islice(results, 1000))) == 1000
        results.close()  # type: ignore[attr-defined]
    assert closed == [0, str(pipe)]


def test_closing_the_iterator_closes_the_list(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("https://h.example/1\n" * 100_000)
    results = sources.read([str(path)])
    next(results)
    files = "/proc/self/fd"
    if not os.path.isdir(files):
        pytest.skip("no /proc")

    def is_open() -> bool:
        names = (os.path.join(files, fd) for fd in os.listdir(files))
        return any(os.path.realpath(name) == str(path.resolve()) for name in names)

    assert is_open()
    results.close()  # type: ignore[attr-defined]
    assert not is_open()


def test_a_list_that_breaks_off_is_a_failure_and_half_a_url_is_none() -> None:
    def chunks(_: str | int) -> Chunks:
        yield b"https://h.example/1\nhttps://h.example/2\nhttps://h.exam"
        raise OSError(errno.EIO, "Input/output error")

    first, last = sources.read(["-"], chunks=chunks)
    assert isinstance(first, Item)
    assert isinstance(last, BadItem)
    assert (last.index, last.line) == (2, 2)
    assert str(last.error) == "-:2: the list cannot be read from here on: Input/output error; start gdl again"


def test_a_list_that_is_gone_when_its_turn_comes_is_a_failure(tmp_path: Path) -> None:
    results = list(sources.read([str(tmp_path / "gone.txt"), "https://h.example/a"]))
    assert isinstance(results[0], BadItem)
    assert "No such file" in str(results[0].error)
    assert isinstance(results[1], Item)


def test_errors_of_whoever_consumes_the_items_are_their_own() -> None:
    def warn(message: str) -> None:
        raise OSError(errno.EPIPE, message)

    with pytest.raises(OSError, match="split"):
        list(sources.read(["-"], chunks=lambda _: stream([b"https://h.example/a\n  split=5\n"]), warn=warn))


def test_a_list_is_checked_before_the_start(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("ftp://h.example/a\n")
    sources.check([str(path), "-", "https://h.example/a", "ftp://h.example/a", os.devnull])


@pytest.mark.parametrize(
    ("given_sources", "said"),
    [
        (["gone.txt"], "cannot read the list gone.txt: No such file or directory"),
        (["example.org/a.jpg"], "a URL begins with http:// or https://"),
        (["."], "it is a folder; -o names"),
        (["\xa0https://h.example/"], "a URL begins with http:// or https://"),
        (["a\0b"], "not a file name"),
        ([""], "a source is empty"),
        (["-", "https://h.example/", "-"], "given twice"),
        (["user:secret@h.example/a"], r"the list \*\*\*@h.example/a: "),
        (["http:/user:secret@h.example/a"], r"the list \*\*\*@h.example/a: "),
    ],
)
def test_a_source_that_cannot_be_read_is_a_usage_error(
    given_sources: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said) as caught:
        sources.check(given_sources)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_list_without_permission_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.touch(0o000)
    with pytest.raises(UsageError, match="permission denied"):
        sources.check([str(path)])


def test_only_what_is_cheap_to_count_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.touch()
    assert sources.count(str(path)) == 0
    os.truncate(path, sources.COUNTED + 1)
    os.mkfifo(tmp_path / "pipe")
    for source in (str(path), str(tmp_path / "pipe"), str(tmp_path), str(tmp_path / "gone"), "-", "a\0b", os.devnull):
        assert sources.count(source) is None
    assert sources.count("https://h.example/a") == 1


def test_memory_does_not_grow_with_the_list_or_its_lines() -> None:
    def chunks(_: str | int) -> Chunks:
        for number in range(500):
            yield b"".join(b"https://h.example/%d/%d\n" % (number, line) for line in range(100))
        for _ in range(500):
            yield b"x" * 65536
        yield b"\n"
        yield from [b"https://h.example/a\n", *[b"  out=" + b"x" * 65000 + b"\n"] * 500]

    tracemalloc.start()
    try:
        number = sum(1 for _ in sources.read(["-"], chunks=chunks))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert number == 50_002


def test_a_program_may_pass_urls_mappings_and_items() -> None:
    item = Item(Address("https://h.example/3"), 99, "x", source="urls.txt", line=7)
    results = list(sources.from_program(["https://h.example/a b", {"url": "https://h.example/2", "id": 2}, item]))
    assert results == [
        Item(Address("https://h.example/a%20b"), 1, text=b"https://h.example/a%20b"),
        Item(Address("https://h.example/2"), 2, extra={"id": 2}, text=b'{"url": "https://h.example/2", "id": 2}'),
        replace(item, index=3),
    ]


@pytest.mark.parametrize("thing", ["", "example.org", "u:secret@h.example", b"https://h.example/", None, 1, {}, {1: 2}])
def test_a_program_passing_something_else_gets_a_failure_in_its_place(thing: object) -> None:
    first, second = sources.from_program([thing, "https://h.example/"])  # type: ignore[list-item]
    assert isinstance(first, BadItem)
    assert str(first.error).startswith("item 1: ")
    assert "secret" not in str(first.error)
    assert (first.index, second.index) == (1, 2)


@pytest.mark.parametrize("one", ["https://h.example/", {"url": "https://h.example/"}])
def test_one_url_is_not_taken_for_a_list_of_letters(one: str) -> None:
    (result,) = sources.from_program(one)
    assert isinstance(result, Item)


def test_a_program_s_items_are_taken_one_by_one() -> None:
    results = sources.from_program(f"https://h.example/{number}" for number in itertools.count())
    assert [result.index for result in itertools.islice(results, 3)] == [1, 2, 3]


# Properties: lists put together from what matters to the reader, and from anything.

PIECES = st.sampled_from(
    (
        *(b"https://h.example/a", b"HTTP://u:p@H.example:81/?q=1", b"https://h.example/a b/c d.jpg", b"ftp://x/y"),
        *(b"https://h.example/1\thttps://h.example/2\tname", "https://例子.测试/图.jpg".encode(), b"example.org"),
        *(b"  out=x", b"\tdir=y", b"  split=1", b"  header=A: b", b"  header=", b" =", b"  out", b" https://h/?a=1"),
        *(b'{"url": "https://h.example/j"}', b'  {"url": 1}', b"{", b'{"url": "https://h/", "x": "\\ud800"}'),
        *(b"# comment", b"  # comment", b"", b"  ", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b" ", b"\0", b"\xff", b"="),
        *(b"http", b"#", b"{", b"https://h.example/a#sha256=1", b"https://h.example/\xc2\xa0", b"\v", b"\x85"),
    )
)
LISTS = st.lists(PIECES | st.just(b"\n") | st.just(b"\r\n") | st.binary(max_size=4), max_size=40).map(b"".join)
LINES = st.lists(PIECES, max_size=20).map(b"\n".join)


def meaningful(data: bytes, *, json_list: bool) -> int:
    """Count the lines that must give a result, said another way than the reader does.

    Those with anything but white space that is no comment, less the indented ``key=…`` lines for which the last
    such line that is itself no ``key=…`` line is text rather than JSON.
    """
    number = 0
    has_owner = False
    for raw in data.split(b"\n"):
        line = re.sub(rb"^(\xef\xbb\xbf)+", b"", raw)
        words = line.split()
        if not words or words[0][:1] == b"#":
            continue
        key, equals, _ = line.partition(b"=")
        word = key.lstrip().rstrip(b" \t")
        is_option = line[:1] in (b" ", b"\t") and equals and re.fullmatch(rb"[A-Za-z][A-Za-z0-9_-]*", word)
        if is_option and has_owner:
            continue
        number += 1
        has_owner = not is_option and not json_list and words[0][:1] != b"{"
    return number


@given(LISTS | LINES, st.sampled_from(("urls.txt", "urls.JSONL")))
def test_every_meaningful_line_gives_exactly_one_result(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    results = list(sources.read([str(path)]))
    expected = meaningful(data, json_list=name.endswith("L"))
    assert [result.index for result in results] == list(range(1, expected + 1))
    assert sources.count(str(path)) == expected
    assert [result.line for result in results] == sorted({result.line for result in results})
    for result in results:
        if isinstance(result, BadItem):
            assert isinstance(result.error, InputError)
            assert str(result.error).startswith(f"{path}:{result.line}: ")
        elif name.endswith("L"):
            assert result.text.lstrip().startswith(b"{")


@given(LISTS | LINES, st.data())
def test_where_chunks_end_does_not_matter(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=10))
    edges = [0, *sorted(cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
    expected = [plain(result) for result in read_bytes(data)]
    assert [plain(result) for result in read_bytes(chunks)] == expected
    if b"=" not in data:
        # Being idle in between matters to options at most.
        idle = itertools.chain.from_iterable((chunk, None) for chunk in chunks)
        assert [plain(result) for result in read_bytes(idle)] == expected


@given(LISTS | LINES)
@example(b"https://h.example/a\n{}\n  out=x\nhttps://h.example/b\n  out=y")
def test_feeding_the_text_back_gives_the_same_items(data: bytes) -> None:
    results = read_bytes(data)
    for result in results:
        if isinstance(result, Item):
            assert items_of(read_bytes(result.text + b"\n")) == [placeless(result)]
    # And all together, as --failed writes them.
    again = read_bytes(b"".join(result.text + b"\n" for result in results))
    assert items_of(again) == items_of(results)


@given(st.text().map(lambda text: "https://h.example/" + text) | st.text())
@example("https://h.example/ #sha256= " + SHA256)
@example("https://us er:pa ss@h.example/ ")
def test_feeding_an_argument_s_text_back_gives_the_same_item(argument: str) -> None:
    (result,) = sources.from_program([argument])
    assert items_of(read_bytes(result.text)) == items_of([result])


# No small letters: those may well be part of a message.
SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZÄß0123456789!$&'()*+,;=~", min_size=8, max_size=12)
PLACES = st.sampled_from(
    (
        "https://%s@h.example/a",
        "https://%s@h.example/a name\tftp://h.example/b",
        "https://%s@h.example:x/a",
        "ftp://%s@h.example/a",
        "%s@h.example/a",
        "https://h.example/a\thttps://%s@h.example/b",
        "https://h.example/a\thttp://%s@[h.example/b",
        "https://h.example/a https://%s@h.example/b",
        "https://h.example/a\n  referer=https://%s@h.example/",
        "https://h.example/a\n  referer=ftp://%s@h.example/",
        "https://h.example/a\n  all-proxy=http://%s@h.example/",
        "https://h.example/a\n  header=Authorization: %s",
        "https://h.example/a\n  header=%s",
        "  http-passwd=%s",
        '{"url": "https://%s@h.example/a"}',
        '{"url": "https://%s@h.example/a}',
        '{"url": "https://%s@h.example:x/a"}',
        '{"url": "https://h.example/a", "referer": "https://%s@h.example/"}',
        '{"url": "https://h.example/a", "headers": {"Cookie": "%s"}}',
    )
)


@given(SECRETS, SECRETS, PLACES, st.sampled_from((":", ":/", ":?", "%3A", ":p@")))
def test_no_message_or_repr_tells_credentials(username: str, password: str, place: str, between: str) -> None:
    text = place.replace("%s", username + between + password)
    warned: list[str] = []
    results = read_bytes(text.encode(), warned)
    if "\n" not in text:
        results += sources.from_program([text])
        results += sources.read([text]) if sources.is_url(text) else []
    said = "\n".join([*warned, *(f"{result!r} {result}" for result in results)])
    said += "\n".join(str(result.error) for result in results if isinstance(result, BadItem))
    assert password not in said
