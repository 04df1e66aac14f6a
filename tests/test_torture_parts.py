"""The torture itself: its worlds, its server, its watcher and its checks do what they are for."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support.certs import make_authority
from support.cli import REPOSITORY, Completed
from support.failing import KINDS as CALLS
from support.failing import Fault
from support.processes import wait_until
from support.sized import KINDS
from torture import answers, checks, starts
from torture.exchange import Exchange
from torture.plan import BEHAVIOURS, CUT, HONEST, REST, Decision, decide
from torture.server import Service, TortureServer, span
from torture.starts import Launch
from torture.watcher import BLOCK, Watcher, describe
from torture.world import DECOY, ELSEWHERE, HOSTS, MOST_FAULTS, World

from downloader import media, sources
from downloader.endings import Ending, ending
from downloader.items import Item
from downloader.options import MEDIA

if TYPE_CHECKING:
    from pathlib import Path

    from torture.world import File, Protocol

WORLD = World(11, 80)
LARGE = next(file for file in WORLD.files if file.large and len(file.sizes) > 1 and not file.mirrored)
SUMMED = next(file for file in WORLD.files if file.summed and file.framing == "length")
CHANGING = replace(
    LARGE,
    framing="length",
    validators="both",
    ranges=True,
    announced=True,
    summed=False,
    style="plain",
    protocol="http",
    kind="jpg",
    faults=4,
)
ENDLESS = replace(CHANGING, kind="ts")
STREAMED = replace(CHANGING, protocol="h2")
PORTS: dict[Protocol, int] = {"http": 1234, "https": 1235, "h2": 1236}


def exchange_of(
    decision: Decision, file: File = CHANGING, *, connection: Any = None, wanted: str | None = None, **more: Any
) -> Exchange:
    """A request for the second version of a file, unless there is only one."""
    version = more.pop("version", 1)
    where = more.pop("where", "")
    view, older = WORLD.view(file, version, where), WORLD.view(file, max(0, version - 1), where)
    other = WORLD.stray(file) if "surplus" in decision.behaviour else WORLD.content(file, DECOY)
    size = len(view.content)
    exact = span(wanted, size) == span(wanted, size + 1)
    given = {"condition": None} | more
    return Exchange(connection, file, where, view, other, older, decision, span(wanted, size), exact, **given)


# The world


def test_every_version_of_every_file_is_media_that_gdl_takes_under_its_name() -> None:
    for file in World(12, 40).files:
        kind, declared = f".{file.kind}", KINDS[file.kind].type
        for version in range(len(file.sizes)):
            head = WORLD.content(file, version)[: media.HEAD_BYTES]
            judged = media.judge(head, declared=declared, name_extension=kind, accept=MEDIA, size=file.sizes[version])
            assert (judged.refusal, judged.type) == (None, declared)


@pytest.mark.parametrize("kind", KINDS)
def test_files_show_that_they_were_cut_where_their_format_lets_them(kind: str) -> None:
    file = replace(WORLD.files[0], kind=kind, sizes=(3001, 120_003), summed=False)
    for version in (0, 1, 0 + ELSEWHERE, DECOY):
        whole = WORLD.content(file, version)
        found = {size: look(whole[:size]) for size in (*range(1, len(whole), 97), len(whole) - 1, len(whole))}
        assert found.pop(len(whole)) == (Ending.PRESENT if file.ends else Ending.UNKNOWN)
        assert set(found.values()) <= {Ending.MISSING, Ending.UNKNOWN}
        assert all(
            said is (Ending.MISSING if file.ends else Ending.UNKNOWN) for size, said in found.items() if size > 600
        )
    assert replace(file, summed=True).ends


def look(data: bytes) -> Ending:
    return ending(lambda offset, count: data[offset : offset + count], len(data))


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
    assert {file.kind for file in files} == KINDS.keys()
    assert {file.protocol for file in files} == {"http", "https", "h2"}
    assert {file.ends for file in files} == {file.elsewhere for file in files} == {True, False}
    assert all(file.faults < MOST_FAULTS for file in files)
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
    listed, lines = WORLD.listed(PORTS)
    (tmp_path / "urls.txt").write_bytes(listed)
    items = list(sources.read([str(tmp_path / "urls.txt")]))
    assert len(items) == len(lines) == len(WORLD.files)
    for item in items:
        assert isinstance(item, Item)
        file = lines[item.line]
        found = WORLD.find("/" + item.url.split("/", 3)[3])
        assert found == (file, "")
        secure = file.protocol != "http"
        assert item.url.startswith("https://" if secure else "http://")
        assert f":{PORTS[file.protocol]}/" in item.url
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


def test_a_mirror_has_other_bytes_under_the_same_validators_and_length() -> None:
    file = replace(CHANGING, mirrored=True)
    for where in ("mirror/", "mirror-alias/", "mirror-rest/"):
        view, other = WORLD.view(file, 1), WORLD.view(file, 1, where)
        assert (view.etag, view.modified, len(view.content)) == (other.etag, other.modified, len(other.content))
        assert WORLD.identify(file, other.content) == 1 + ELSEWHERE
    assert WORLD.view(file, 1, "rest/").content == WORLD.view(file, 1).content
    assert WORLD.identify(file, WORLD.stray(file)) is None


# What the server decides


def test_decisions_come_from_the_seed_and_end() -> None:
    again = World(11, 80)
    for file, same in zip(WORLD.files, again.files, strict=True):
        for number in range(20):
            drawn = decide(11, file, number, ranged=True, faults_left=1)
            assert drawn == decide(11, same, number, ranged=True, faults_left=1)
            assert decide(11, file, number, ranged=True, faults_left=0).behaviour == HONEST
    for one in (LARGE, STREAMED, replace(CHANGING, mirrored=True), replace(ENDLESS, protocol="https")):
        drawn_for = {decide(seed, one, 0, ranged=True, faults_left=1).behaviour for seed in range(3000)}
        assert drawn_for == {HONEST} | {each.name for each in BEHAVIOURS if each.ranged is not False and each.fits(one)}
    without = {decide(seed, LARGE, 0, ranged=False, faults_left=1).behaviour for seed in range(500)}
    assert without.isdisjoint(one.name for one in BEHAVIOURS if one.ranged)


def test_a_path_for_rests_sends_nothing_else_to_ranges() -> None:
    drawn = [decide(11, CHANGING, number, ranged=True, faults_left=3, rests=True) for number in range(20)]
    assert {(one.behaviour, one.fault) for one in drawn} == {(REST, 0)}
    assert {decide(11, CHANGING, n, ranged=False, faults_left=0, rests=True).behaviour for n in range(20)} == {HONEST}


def test_every_behaviour_has_its_answer() -> None:
    assert {one.name for one in BEHAVIOURS} | {HONEST} == answers._ANSWERS.keys()


NAMED = {one.name: one for one in BEHAVIOURS}


def test_what_no_client_could_notice_happens_only_to_files_that_show_it() -> None:
    closing, small = replace(CHANGING, framing="close"), replace(CHANGING, sizes=(4000,))
    for name, fitting in {
        "truncated": (CHANGING, ENDLESS, closing, replace(closing, kind="ts", summed=True)),
        "length too short": (small, replace(small, protocol="https"), replace(ENDLESS, summed=True)),
        "decoy": (SUMMED,),
        "206 decoy": (SUMMED,),
        "redirect elsewhere": (replace(CHANGING, mirrored=True),),
        "surplus answer": (CHANGING, ENDLESS, SUMMED, replace(CHANGING, framing="chunked")),
        "stream ends early": (STREAMED, replace(STREAMED, kind="ts")),
    }.items():
        assert all(NAMED[name].fits(file) for file in fitting), name
    for name, others in {
        "truncated": (replace(closing, kind="ts"),),
        "length too short": (CHANGING, replace(small, kind="ts"), replace(small, protocol="h2"), closing),
        "decoy": (CHANGING,),
        "206 decoy": (CHANGING,),
        "redirect elsewhere": (CHANGING, replace(CHANGING, mirrored=True, summed=True)),
        "surplus answer": (STREAMED, closing),
        "stream ends early": (CHANGING, replace(STREAMED, kind="ts", style="server-named")),
    }.items():
        assert not any(NAMED[name].fits(file) for file in others), name


def test_after_a_cut_body_of_which_nothing_tells_the_next_answer_is_a_good_one() -> None:
    [index] = [file.index for file in WORLD.files if file.index == LARGE.index]
    for kind in ("ts", "jpg"):
        file = replace(STREAMED, kind=kind, faults=12, index=index)
        service = Service(WORLD)
        service._standing[index].faults_left = 10_000
        drawn = [service._decide(file, ranged=False)[1] for _ in range(2000)]
        following = {after.behaviour for before, after in pairwise(drawn) if before.behaviour in CUT}
        assert (following == {HONEST}) == (kind == "ts")


def test_no_two_faults_of_a_file_cut_it_at_one_place() -> None:
    for size in (1600, 4000, 70_001):
        for fraction in (0.0, 0.3, 0.5, 0.9999):
            places = {
                exchange_of(Decision("truncated", fraction, None, changes=False, fault=n)).place(size)
                for n in range(1, 15)
            }
            assert len(places) == 14
            assert all(abs(place - size * fraction) <= MOST_FAULTS and 0 <= place < size for place in places)
        drawn = [exchange_of(decide(seed, CHANGING, 0, ranged=False, faults_left=3)).place(size) for seed in range(50)]
        assert len({place % MOST_FAULTS for place in drawn}) <= 2, "faults, and what is none"


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


# The server


def test_a_file_is_served_honestly_once_its_faults_are_used_up() -> None:
    world = World(5, 12)
    service = Service(world)
    for file in world.files:
        for _ in range(200):
            service._decide(file, ranged=False)
        assert {service._decide(file, ranged=True)[1].behaviour for _ in range(20)} == {HONEST}
    assert service.counts()["requests"] == 12 * 220


def test_the_server_is_a_process_that_answers_counts_and_ends(tmp_path: Path) -> None:
    authority = make_authority(tmp_path, *HOSTS)
    with TortureServer(5, 12, authority.good) as running:
        assert running.ports.keys() == PORTS.keys()
        world = World(5, 12)
        file = next(file for file in world.files if not file.large)
        for number in range(40):
            with ExitStack() as stack:
                protocol: Protocol = "https" if number == 39 else "http"
                client = stack.enter_context(socket.create_connection(("127.0.0.1", running.ports[protocol]), 20))
                if protocol == "https":
                    context = authority.client_context()
                    client = stack.enter_context(context.wrap_socket(client, server_hostname=HOSTS[-1]))
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
    assert {launch.quota for launch in calm} == {()}
    assert len(calm) == 99 - starts.PATIENCE


def test_some_starts_have_a_disk_that_says_late_that_it_is_full() -> None:
    launches = [launch for seed in range(40) for n in range(1, 50) for launch in starts.draw(seed, n, jobs=16, split=4)]
    full = [launch for launch in launches if launch.quota]
    assert 0.08 < len(full) / len(launches) < 0.16
    rules = [rule for launch in full for rule in launch.quota]
    assert {rule.calls for rule in rules} == {"close"} < CALLS
    assert {rule.action for rule in rules} == {errno.EDQUOT, errno.ENOSPC}
    assert {rule.when.endswith("+") for rule in rules} == {True, False}
    assert {rule.path for rule in rules} == {"", ".part$", "(deleted)$", ".part.json$"}
    assert "on a disk with close:" in str(full[0])


QUIET = Launch((), 0.0, None, 0.0)
KILLED = Launch((), 0.0, signal.SIGKILL, 1.0)
FULL = Launch((), 0.0, None, 0.0, (Fault("close", errno.EDQUOT),))
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
        (3, [failure("disk")], "", QUIET, "ended with 3"),
        (0, [failure("disk")], "", FULL, "ended with 0, and 1 failed"),
        (1, [failure("disk")], "", QUIET, "failed for disk"),
        (3, [{}], "", FULL, "ended with 3, and 0 failed"),
        (3, [failure("disk"), failure("disk")], "", FULL, "line 2 has 2 results"),
        (3, [failure("internal")], "", FULL, "failed for internal"),
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
    assert any(says in problem for problem in problems)
    assert len(problems) == (2 if (code, launch.quota) == (3, ()) else 1), problems


def test_a_host_that_is_not_there_is_no_fault_of_gdl(tmp_path: Path) -> None:
    results = [exists(tmp_path, 1), {**exists(tmp_path, 2), **failure("unreachable")}]
    assert checks.check(Completed(1, printed(*results), ""), QUIET, FILES, tmp_path, alone=True)[0] == []


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
