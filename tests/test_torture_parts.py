"""The torture itself: its worlds, its server, its watcher and its checks do what they are for."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import faults as f
from support.cli import REPOSITORY, Completed
from support.processes import wait_until
from torture import answers, checks, starts
from torture.answers import Exchange, answer
from torture.plan import BEHAVIOURS, HONEST, Decision, decide
from torture.server import Service, TortureServer, span
from torture.starts import Launch
from torture.watcher import BLOCK, Watcher, describe
from torture.world import DECOY, MAGIC, World

from downloader import media, sources
from downloader.items import Item
from downloader.options import MEDIA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torture.world import File

WORLD = World(11, 80)
LARGE = next(file for file in WORLD.files if file.large and len(file.sizes) > 1 and not file.mirrored)
SUMMED = next(file for file in WORLD.files if file.summed and file.framing == "length")
CHANGING = replace(
    LARGE, framing="length", validators="both", ranges=True, announced=True, summed=False, style="plain", faults=4
)


# The world


def test_every_version_of_every_file_is_media_that_gdl_takes_under_its_name() -> None:
    for file in World(12, 40).files:
        kind, declared = f".{file.kind}", MAGIC[file.kind][1]
        for version in range(len(file.sizes)):
            head = WORLD.content(file, version)[: media.HEAD_BYTES]
            judged = media.judge(head, declared=declared, name_extension=kind, accept=MEDIA, size=file.sizes[version])
            assert (judged.refusal, judged.type) == (None, declared)


def test_versions_differ_in_every_block_and_are_the_same_in_every_process() -> None:
    first, second = (WORLD.content(LARGE, version) for version in (0, 1))
    size = min(len(first), len(second))
    alike = [at for at in range(0, size, BLOCK) if first[at : at + BLOCK] == second[at : at + BLOCK]]
    assert alike == []
    code = (
        "import hashlib; from torture.world import World; world = World(11, 80);"
        f"print(hashlib.sha256(world.content(world.files[{LARGE.index}], 1)).hexdigest())"
    )
    path = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/tests", "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(second).hexdigest()


def test_a_world_has_files_of_every_kind() -> None:
    files = World(1, 300).files
    assert {file.framing for file in files} == {"length", "chunked", "close"}
    assert len({file.validators for file in files}) == 7
    assert len({file.style for file in files}) == 6
    for name in ("summed", "mirrored", "ranges", "announced", "large"):
        assert {getattr(file, name) for file in files} == {True, False}, name
    assert {len(file.sizes) for file in files if file.summed} == {1}
    assert len({file.name for file in files}) == len(files)


def test_some_worlds_have_few_files_and_those_are_large() -> None:
    worlds = [World(seed, 40).files for seed in range(12)]
    assert {len(files) for files in worlds} == {40, 10}
    assert all(sum(file.large for file in files) >= 6 for files in worlds if len(files) == 10)


def test_gdl_reads_from_the_list_what_the_world_says(tmp_path: Path) -> None:
    listed, lines = WORLD.listed(1234)
    (tmp_path / "urls.txt").write_bytes(listed)
    items = list(sources.read([str(tmp_path / "urls.txt")]))
    assert len(items) == len(lines) == len(WORLD.files)
    for item in items:
        assert isinstance(item, Item)
        file = lines[item.line]
        found = WORLD.find("/" + item.url.split("/", 3)[3])
        assert found == (file, "")
        assert item.checksum is None or item.checksum.hexdigest == WORLD.checksum(file)
        assert (item.checksum is not None, len(item.mirrors)) == (file.summed, file.mirrored)
        assert item.name == (file.name if file.style in ("named", "json") else None)


def test_validators_tell_versions_apart_exactly_where_they_are_some() -> None:
    for file in World(1, 300).files:
        views = [WORLD.view(file, version) for version in range(len(file.sizes))]
        strong = {view.etag for view in views if view.etag and view.etag.startswith('"')}
        dates = {view.modified for view in views if view.modified}
        assert len(strong) == (len(views) if file.validators in ("both", "etag") else 0)
        if file.validators in ("both", "date", "weak and date"):
            assert len(dates) == len(views)
        else:
            assert len(dates) == (file.validators == "young")


# What the server decides


def test_decisions_come_from_the_seed_and_end() -> None:
    again = World(11, 80)
    for file, same in zip(WORLD.files, again.files, strict=True):
        for number in range(20):
            drawn = decide(11, file, number, ranged=True, faults_left=1)
            assert drawn == decide(11, same, number, ranged=True, faults_left=1)
            assert decide(11, file, number, ranged=True, faults_left=0).behaviour == HONEST
    drawn_for = {decide(seed, LARGE, 0, ranged=True, faults_left=1).behaviour for seed in range(2000)}
    assert drawn_for >= {one.name for one in BEHAVIOURS if one.ranged and one.fits(LARGE)}
    without = {decide(seed, LARGE, 0, ranged=False, faults_left=1).behaviour for seed in range(500)}
    assert without.isdisjoint(one.name for one in BEHAVIOURS if one.ranged)


def test_every_behaviour_has_its_answer() -> None:
    assert {one.name for one in BEHAVIOURS} | {HONEST} == answers._ANSWERS.keys()


def test_what_no_client_could_notice_happens_only_to_files_with_a_checksum() -> None:
    names = {one.name: one for one in BEHAVIOURS}
    endless = replace(CHANGING, framing="close")
    for name in ("truncated", "length too short", "decoy", "206 decoy"):
        assert not names[name].fits(endless)
        assert not names[name].fits(CHANGING) or name == "truncated"
        assert names[name].fits(SUMMED)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-500", (10, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=200-", (200, 100)),
        ("bytes=-", None),
        ("bytes=1-2,5-6", None),
        (None, None),
    ],
)
def test_ranges_are_read(wanted: str | None, expected: tuple[int, int] | None) -> None:
    assert span(wanted, 100) == expected


# What the server sends


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes
    ended: bool
    """Whether the connection ended in an orderly way."""


class Client:
    """Asks a server that does with each request what the test says."""

    def __init__(self, faults: f.FaultServer) -> None:
        self._faults = faults

    def __call__(
        self,
        behaviour: str,
        file: File = CHANGING,
        *,
        wanted: str | None = None,
        condition: str | None = None,
        version: int = 1,
    ) -> Answer:
        """What comes for one request until the connection ends."""
        view, older = WORLD.view(file, version), WORLD.view(file, max(0, version - 1))

        def respond(connection: f.Connection, _request: f.Request) -> None:
            decision = Decision(behaviour, 0.5, None, changes=False)
            decoy = WORLD.content(file, DECOY)
            place = span(wanted, len(view.content))
            answer(Exchange(connection, file, "", view, decoy, older, decision, place, condition))
            connection.keep_alive = False

        self._faults.otherwise(respond)
        fields = f"Range: {wanted}\r\n" if wanted else ""
        received, ended = b"", True
        with socket.create_connection(("127.0.0.1", self._faults.port), timeout=20) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
            try:
                while data := client.recv(1 << 20):
                    received += data
            except ConnectionResetError:
                ended = False
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int(first.split()[1]) if first else 0, named, body, ended)


@pytest.fixture(scope="module")
def ask() -> Iterator[Client]:
    with f.FaultServer() as faults:
        yield Client(faults)


STATUSES = {
    **dict.fromkeys([one.name for one in BEHAVIOURS if one.name.startswith("206")], 206),
    **dict.fromkeys(("If-Range ignored", "If-Range ignored, no validator"), 206),
    **dict.fromkeys(["416", "416 Content-Range"], 416),
    "503": 503,
    "503 retry after": 503,
    "500": 500,
    "429": 429,
    "404": 404,
    "redirect": 302,
    **dict.fromkeys(["closed", "reset at once"], 0),
}
LIES = {"206 multipart", "206 gzip", "206 decoy", "206 no Content-Range", "206 garbled Content-Range"}
"""Whose bodies or claims are no plain range; see their own tests."""


@pytest.mark.parametrize("behaviour", [HONEST, *(one.name for one in BEHAVIOURS)])
@pytest.mark.parametrize("wanted", [None, "bytes=1000-50999", "bytes=300000-"])
def test_body_bytes_are_of_one_version_and_where_the_header_says(
    ask: Client, monkeypatch: pytest.MonkeyPatch, behaviour: str, wanted: str | None
) -> None:
    if wanted is None and any(one.ranged and one.name == behaviour for one in BEHAVIOURS):
        return
    monkeypatch.setattr(answers, "STALL_SECONDS", 0.1)
    whole = WORLD.content(CHANGING, 0 if behaviour == "an older version" else 1)
    came = ask(behaviour, wanted=wanted)
    expected = STATUSES.get(behaviour, 206 if wanted else 200)
    if behaviour in ("length too long", "length too short", "gzip", "broken gzip", "web page", "200 to a range"):
        expected = 200
    assert came.status == (expected if behaviour != "decoy" else came.status)
    if expected not in (200, 206) or behaviour in LIES | {"web page", "decoy"}:
        return
    body = came.body
    if came.fields.get("transfer-encoding"):
        body = b"".join(chunks(body))
    if behaviour == "gzip":
        body = gzip.decompress(body)
    elif behaviour == "broken gzip":
        assert gzip.compress(whole, 0).startswith(body[:-5])
        return
    start = 0
    if came.status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", came.fields["content-range"])
        assert match is not None
        start = int(match[1])
    assert body
    assert whole.startswith(body, start)
    if "content-length" in came.fields and came.fields.get("content-encoding") is None:
        promised = int(came.fields["content-length"])
        assert (len(body) == promised) == (
            behaviour not in ("truncated", "reset", "stall", "length too long", "length too short")
        )


def chunks(framed: bytes) -> list[bytes]:
    """The chunks that are whole."""
    found: list[bytes] = []
    while True:
        size, _, framed = framed.partition(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]+", size) or int(size, 16) == 0:
            return found
        found.append(framed[: int(size, 16)])
        framed = framed[int(size, 16) + 2 :]


def test_an_honest_server_heeds_if_range(ask: Client) -> None:
    now, before = WORLD.view(CHANGING, 1), WORLD.view(CHANGING, 0)
    assert ask(HONEST, wanted="bytes=5-", condition=now.etag).status == 206
    assert ask(HONEST, wanted="bytes=5-", condition=now.modified).status == 206
    assert ask(HONEST, wanted="bytes=5-", condition=before.etag).status == 200
    assert ask(HONEST, wanted=f"bytes={len(now.content)}-").status == 416
    assert ask("If-Range ignored", wanted="bytes=5-", condition=before.etag).fields["etag"] == now.etag
    assert "etag" not in ask("If-Range ignored, no validator", wanted="bytes=5-", condition=before.etag).fields


def test_a_decoy_has_the_right_validators_and_other_bytes(ask: Client) -> None:
    right, decoy = ask(HONEST, SUMMED, version=0), ask("decoy", SUMMED, version=0)
    assert {**right.fields, "date": ""} == {**decoy.fields, "date": ""}
    assert (len(right.body), right.body == decoy.body) == (len(decoy.body), False)


def test_a_reset_is_no_orderly_end(ask: Client) -> None:
    endless = replace(CHANGING, framing="close")
    assert not ask("reset", endless).ended
    assert not ask("reset at once").ended
    assert ask("closed").ended
    assert ask("truncated").ended
    whole = ask(HONEST, endless)
    assert (whole.ended, whole.body == WORLD.content(CHANGING, 1)) == (True, True)


def test_a_multipart_answer_and_a_range_of_a_gzip_are_what_they_say(ask: Client) -> None:
    whole = WORLD.content(CHANGING, 1)
    parts = ask("206 multipart", wanted="bytes=10-19")
    assert parts.fields["content-type"].startswith("multipart/byteranges")
    assert whole[10:20] in parts.body
    packed = ask("206 gzip", wanted="bytes=10-19")
    assert (packed.body, packed.fields["content-encoding"]) == (gzip.compress(whole, 0)[10:20], "gzip")


def test_a_file_is_served_honestly_once_its_faults_are_used_up() -> None:
    world = World(5, 12)
    service = Service(world)
    for file in world.files:
        for _ in range(200):
            service._decide(file, ranged=False)
        assert {service._decide(file, ranged=True)[1].behaviour for _ in range(20)} == {HONEST}
    assert service.counts()["requests"] == 12 * 220


def test_the_server_is_a_process_that_answers_counts_and_ends() -> None:
    with TortureServer(5, 12) as running:
        world = World(5, 12)
        file = next(file for file in world.files if not file.large)
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
                client.sendall(f"GET {file.path()} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                received = b""
                try:
                    while data := client.recv(1 << 20):
                        received += data
                except ConnectionResetError:
                    continue
        body = received.partition(b"\r\n\r\n")[2]
        assert world.identify(file, body) is not None or file.framing == "chunked"
        counts = running.counts()
        assert (counts["requests"], counts["errors"]) == (40, [])
        assert sum(counts["behaviours"].values()) == 40
        assert counts["bytes"] > file.sizes[0]
        process = running.process
    assert process.returncode is not None


# The watcher


OLD, NEW = WORLD.content(LARGE, 0), WORLD.content(LARGE, 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (OLD[:500_000] + NEW[500_000:], r"bytes 0 to 499,968 of version 0; .*of version 1"),
        (OLD[:-1], "of version 0$"),
        (OLD + b"x", "of version 0; .*no version"),
        (OLD[:512] + OLD[256:], "version 0, where they are at 256"),
        (b"", "^0 bytes"),
        (OLD[:1000] + bytes(len(OLD) - 1000), "no version"),
        (WORLD.content(LARGE, DECOY), "version -1"),
    ],
    ids=["mixture", "truncated", "surplus", "shifted", "empty", "hole", "decoy"],
)
def test_the_watcher_notices_a_wrong_file_and_says_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / LARGE.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    watcher = Watcher(WORLD, tmp_path)
    watcher.scan()
    [problem] = watcher.problems
    assert problem.startswith(f"{LARGE.name} is no version of its file: ")
    assert re.search(says, describe(WORLD, LARGE, data))


def test_the_watcher_takes_every_whole_version_and_what_gdl_works_with(tmp_path: Path) -> None:
    few = WORLD.files[:12]
    for file in few:
        path = tmp_path / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WORLD.content(file, WORLD.versions(file)[-1]))
        for end in (".part", ".part.json", ".part.old", ".part.old2"):
            (path.parent / f"{path.name}{end}").write_bytes(b"half")
    (tmp_path / ".gdl.lock").touch()
    watcher = Watcher(WORLD, tmp_path)
    watcher.scan()
    watcher.scan()
    assert watcher.problems == []
    assert len(watcher.missing()) == len(WORLD.files) - 12
    assert len(watcher.leftovers()) == 12 * 4 + 1


def test_the_watcher_notices_what_is_gone_replaced_or_of_another_name(tmp_path: Path) -> None:
    files = [file for file in WORLD.files if "/" not in file.name][:2]
    for file in files:
        (tmp_path / file.name).write_bytes(WORLD.content(file, 0))
    watcher = Watcher(WORLD, tmp_path)
    watcher.scan()
    assert watcher.problems == []
    (tmp_path / files[0].name).unlink()
    (tmp_path / "new").write_bytes(WORLD.content(files[1], 0))
    (tmp_path / "new").rename(tmp_path / files[1].name)
    (tmp_path / "other (1).jpg").write_bytes(b"x")
    watcher.scan()
    assert sorted(problem.partition(" ")[2] for problem in watcher.problems) == sorted(
        [
            "was there as a finished file, and is gone",
            "was replaced or written to after it had been finished",
            "(1).jpg is a name nobody asked for, of 1 bytes",
        ]
    )


def test_the_watcher_looks_by_itself(tmp_path: Path) -> None:
    with Watcher(WORLD, tmp_path) as watcher:
        (tmp_path / "wrong.jpg").write_bytes(b"x")
        wait_until(lambda: watcher.problems, "a problem")
    assert watcher.problems == ["wrong.jpg is a name nobody asked for, of 1 bytes"]


# Starts and checks


def test_starts_come_from_the_seed_and_in_the_end_nothing_is_killed() -> None:
    drawn = [starts.draw(3, number, jobs=16, split=4) for number in range(1, 100)]
    assert drawn == [starts.draw(3, number, jobs=16, split=4) for number in range(1, 100)]
    assert {len(launches) for launches in drawn} == {1, 2}
    assert {launch.signal for launches in drawn for launch in launches} == set(checks.ENDS)
    calm = [launch for launches in drawn[starts.PATIENCE :] for launch in launches]
    assert {launch.signal for launch in calm} == {None}
    assert len(calm) == 99 - starts.PATIENCE


QUIET = Launch((), 0.0, None, 0.0)
KILLED = Launch((), 0.0, signal.SIGKILL, 1.0)
FILES = {1: WORLD.files[0], 2: WORLD.files[1]}


def printed(*results: dict[str, Any]) -> str:
    whole = {"url": "u", "error": None, "reason": None, "path": None, "bytes": 0, "sha256": None}
    return "".join(json.dumps(whole | result) + "\n" for result in results)


def exists(folder: Path, line: int) -> dict[str, Any]:
    path = folder / "out" / FILES[line].name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abc")
    return {"line": line, "status": "skipped", "reason": "exists", "path": f"out/{FILES[line].name}"}


def failure(kind: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"kind": kind, "message": "no"}}


def test_a_good_run_passes_its_check(tmp_path: Path) -> None:
    saved = {**exists(tmp_path, 2), "status": "saved", "reason": None, "bytes": 3}
    saved["sha256"] = hashlib.sha256(b"abc").hexdigest()
    done = Completed(0, printed(exists(tmp_path, 1), saved), "2 done")
    assert checks.check(done, QUIET, FILES, tmp_path, alone=True) == ([], {"skipped: exists": 1, "saved": 1})
    cut = Completed(-9, done.stdout[:-20], "")
    assert checks.check(cut, KILLED, FILES, tmp_path, alone=True)[0] == []


@pytest.mark.parametrize(
    ("code", "changes", "stderr", "launch", "says"),
    [
        (0, [{}], "Traceback (most recent call last):", QUIET, "printed 'Traceback'"),
        (0, [], "", QUIET, "line 2 has no result"),
        (0, [{}, {}], "", QUIET, "line 2 has 2 results"),
        (-9, [{}, {}], "", KILLED, "line 2 has 2 results"),
        (0, [{}, {"line": 3}], "", QUIET, "a result of line 3, which is none"),
        (-9, [{}], "", QUIET, "ended with -9"),
        (3, [{}], "", KILLED, "ended with 3"),
        (1, [{}], "", QUIET, "ended with 1, and 0 failed"),
        (0, [failure("http")], "", QUIET, "ended with 0, and 1 failed"),
        (1, [failure("internal")], "", QUIET, "failed for internal"),
        (-9, [failure("internal")], "", KILLED, "failed for internal"),
        (0, [{"reason": "in progress"}], "", QUIET, "was skipped: in progress"),
        (0, [{"status": "saved", "bytes": 4}], "", QUIET, "with 4 bytes, and has 3"),
        (0, [{"status": "saved", "bytes": 3, "sha256": "00"}], "", QUIET, "sha256 00"),
        (0, [{"status": "saved", "path": "out/x"}], "", QUIET, "was saved as out/x"),
    ],
)
def test_a_bad_run_fails_its_check(
    tmp_path: Path, code: int, changes: list[dict[str, Any]], stderr: str, launch: Launch, says: str
) -> None:
    """Line 1 is good; ``changes`` are what the results of line 2 have instead."""
    good = exists(tmp_path, 2)
    stdout = printed(exists(tmp_path, 1), *(good | change for change in changes))
    problems, _ = checks.check(Completed(code, stdout, stderr), launch, FILES, tmp_path, alone=True)
    assert len(problems) == 1
    assert says in problems[0]


def test_sigint_before_gdl_has_begun_is_no_fault_of_gdl(tmp_path: Path) -> None:
    launch = Launch((), 0.0, signal.SIGINT, 0.2)
    early = 'Traceback (most recent call last):\n  File "<frozen runpy>", line 198\nKeyboardInterrupt\n'
    late = early.replace("\nKey", '\n  File "__main__.py", line 22, in main\nKey')
    for stderr, count in ((early, 0), (late, 1)):
        done = Completed(-signal.SIGINT, "", stderr)
        assert len(checks.check(done, launch, FILES, tmp_path, alone=True)[0]) == count


def test_a_file_that_is_said_to_be_there_must_be(tmp_path: Path) -> None:
    results = [exists(tmp_path, 1), {**exists(tmp_path, 2), "status": "saved", "bytes": 3}]
    for file in FILES.values():
        (tmp_path / "out" / file.name).unlink()
    problems, _ = checks.check(Completed(0, printed(*results), ""), QUIET, FILES, tmp_path, alone=True)
    assert [re.search("does not|is not there", problem) is not None for problem in problems] == [True, True]


# All of it


def run_torture(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.torture", "--minutes", "0", "--seed", "4", "--files", "6"]
    command += ["--keep", str(folder)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_a_small_torture_prints_its_seed_and_its_tables_and_ends_well(tmp_path: Path) -> None:
    done = run_torture(tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("seed 4, in ")
    assert "1 rounds" in done.stdout
    assert re.search(r"what the server did\n( {2}.+ +\d+\n)+", done.stdout)
    assert len(list((tmp_path / "round-1-seed-4" / "logs").iterdir())) >= 2


def test_a_wrong_file_ends_the_torture_with_all_that_is_needed_to_see_it_again(tmp_path: Path) -> None:
    file = World(4, 6).files[0]
    path = tmp_path / "round-1-seed-4" / "out" / file.name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no picture")
    done = run_torture(tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{file.name} is no version of its file: 18 bytes" in done.stdout
    assert "python -m tests.torture --minutes 0 --seed 4 --files 6 --jobs 16 --split 4" in done.stdout
    assert file.name in (tmp_path / "round-1-seed-4" / "failure.txt").read_text()
