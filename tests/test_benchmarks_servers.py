"""The servers and the proxy that the benchmarks bring themselves, and the decisions of the cases about them."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.benches import workplace
from support.cli import REPOSITORY
from support.processes import find_program

from benchmarks import hosts, limits, tail
from benchmarks.bench import Bench
from benchmarks.capped import Gate, picture
from benchmarks.links import CEILINGS
from benchmarks.measure import MB, Usage, Wrong
from benchmarks.report import Report
from benchmarks.serve import started
from benchmarks.server import Server
from benchmarks.tools import OTHER, OURS, PARALLEL, Job, Tool, gdl_with
from benchmarks.trials import SAVED, Trial, all_saved, contenders, download, saved, take_trials, times


def work(folder: Path, **more: Any) -> Bench:
    """What a case works with that needs no nginx."""
    nowhere = Server("", "", "", Path(certifi.where()), folder / "sent.log")
    return Bench(nowhere, folder, folder, [OURS], runs=1, **more)


def usage(wall: float, code: int = 0) -> Usage:
    return Usage(code, 0.0, wall, 0.1, 0.1, 10_000_000)


def found(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The cases of a run from the command line."""
    for program in ("nginx", "openssl"):
        find_program(program)
    written = folder / "found.json"
    command = [sys.executable, "-m", "benchmarks", "--runs", "1", "--scratch", str(folder), "--json", str(written)]
    done = subprocess.run(
        [*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    cases: list[dict[str, Any]] = json.loads(written.read_text())["cases"]
    return cases


def test_what_is_above_the_cap_is_refused_at_once_and_the_rest_served() -> None:
    with started("capped", "--caps", "2", "--delay", "2") as server:
        clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(3)]
        for number, client in enumerate(clients):
            client.request("GET", f"/{number}.jpg")
        answers = []
        for number, client in enumerate(clients):
            response = client.getresponse()
            right = response.read() == picture(f"/{number}.jpg")
            answers.append((response.status, right, response.headers["Retry-After"]))
            client.close()
        assert sorted(answers, key=str) == [(200, True, None), (200, True, None), (503, False, "1")]
        counted = server.tell()
        assert counted.pop("seconds") >= 2
        assert counted == {"requests": 3, "refused": 1, "served": 2, "most": 2}
        assert server.tell()["requests"] == 0


def test_requests_may_come_in_pieces_and_several_at_once() -> None:
    with started("capped", "--caps", "9", "--delay", "0") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(b"GET /a.jpg HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.05)
            client.sendall(b"\r\nGET /b.jpg HTTP/1.1\r\nHost: x\r\n\r\nGET /c")
            time.sleep(0.05)
            client.sendall(b".jpg HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(picture("/c.jpg")):
                received += client.recv(65536)
        assert received.count(b" 200 OK") == 3
        assert received.index(picture("/a.jpg")) < received.index(picture("/b.jpg"))


def test_the_cap_changes_after_so_many_pictures_and_begins_again_when_told() -> None:
    gate = Gate([2, 1, 3], every=2)
    caps = []
    for _ in range(6):
        assert gate.enter(1.0)
        gate.leave(2.0)
        caps.append(gate.cap)
    assert caps == [2, 1, 1, 3, 3, 3]
    assert gate.tell() == {"requests": 6, "refused": 0, "served": 6, "most": 1, "seconds": 1.0}
    assert gate.cap == 2


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_never_more_are_in_flight_than_the_cap(comes: list[bool], cap: int) -> None:
    gate = Gate([cap])
    for enters in comes:
        if enters:
            room = gate.in_flight < cap
            assert gate.enter(0.0) == room
        elif gate.in_flight:
            gate.leave(0.0)
        assert 0 <= gate.in_flight <= cap
    assert gate.requests == gate.refused + gate.served + gate.in_flight


def test_the_proxy_adds_a_round_trip_to_an_answer_and_one_to_a_new_connection() -> None:
    with started("capped", "--caps", "9", "--delay", "0") as server, started("delay", str(server.port), "0.3") as proxy:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        elapsed = []
        for path in ("/a.jpg", "/b.jpg"):
            connection.request("GET", path)
            assert connection.getresponse().read() == picture(path)
            elapsed.append(time.monotonic() - began)
        connection.close()
        # At least: a busy machine may take as long as it likes.
        assert elapsed[0] >= 0.599
        assert elapsed[1] - elapsed[0] >= 0.299
        assert proxy.tell()["connections"] == 1


def test_the_proxy_keeps_the_order_of_many_bytes_and_passes_the_end_on() -> None:
    sent = b"".join(b"%07d\n" % number for number in range(200_000))
    with ExitStack() as stack:
        upstream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        proxy = stack.enter_context(started("delay", str(upstream.getsockname()[1]), "0.02"))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=30))
        server = stack.enter_context(upstream.accept()[0])
        server.sendall(sent)
        server.close()
        received = b""
        while piece := client.recv(1 << 20):
            received += piece
    assert received == sent


def test_a_connection_through_the_proxy_ends_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with started("delay", str(port), "0.01") as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.settimeout(30)
        assert client.recv(1) == b""


def test_hosts_are_dead_in_three_ways() -> None:
    names = hosts.addresses(200)
    assert len(set(names)) == 200
    dead = hosts.draw_dead(names, 1)
    assert dead == hosts.draw_dead(names, 1) != hosts.draw_dead(names, 2)
    assert [len(kind) for kind in dead] == [5, 3, 2]
    assert len(dead.all) == 10


def test_hanging_hosts_say_nothing_or_do_not_connect() -> None:
    silent, full, refusing = hosts.addresses(3)
    needed(silent)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with hosts.hanging(hosts.Dead([refusing], [silent], [full]), port):
        with socket.create_connection((silent, port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((refusing, port), timeout=30)
        with pytest.raises(TimeoutError):
            socket.create_connection((full, port), timeout=0.1)


def needed(host: str) -> None:
    with socket.socket() as one:
        try:
            one.bind((host, 0))
        except OSError:
            pytest.skip(f"{host} is no address of this machine")


def test_a_capped_server_is_measured_with_little_work(tmp_path: Path) -> None:
    (case,) = found(tmp_path, "--tools", "gdl", "--count", "8", "capped-100")
    (series,) = case["series"]
    assert series["files saved"] == [8]
    assert series["% refused"] == [0.0]
    assert [fact["most"] for fact in case["facts"]] == [0, None, 2.0, 3.0]


def test_links_and_rates_are_measured_with_little_work(tmp_path: Path) -> None:
    find_program("curl")
    asked = ("rtt-http", "rtt-https", "rtt-per-host", "tail")
    *links, bounds, alone = found(tmp_path, "--tools", "gdl,curl", "--count", "5", *asked)
    assert [fact["most"] for case in links for fact in case["facts"]] == [0, 1.0, 0, 0.8]
    for case in links:
        assert [series["files saved"] for series in case["series"]] == [[5]] * 3
    assert [series["files saved"] for series in bounds["series"]] == [[5]] * (1 + len(CEILINGS))
    assert [fact["most"] for fact in alone["facts"]] == [0.2]


def test_many_names_are_measured_with_little_work(tmp_path: Path) -> None:
    find_program("cc")
    find_program("curl")
    (case,) = found(tmp_path, "--tools", "gdl,curl", "--count", "3", "many-names")
    assert [series["files saved"] for series in case["series"]] == [[6]] * 4
    assert [series["look-ups"] for series in case["series"][:2]] == [[3], [1]]
    assert [fact["most"] for fact in case["facts"]] == [0, 1, None]


def test_a_list_sorted_by_host_is_measured_with_little_work(tmp_path: Path) -> None:
    needed(hosts.addresses(hosts.SORTED_HOSTS)[-1])
    report = hosts.sorted_hosts(work(tmp_path, count=2, names=frozenset({"gdl"})))
    assert report.series[0].told[SAVED] == [2 * hosts.SORTED_HOSTS]


def test_dead_hosts_are_measured_with_little_work(tmp_path: Path) -> None:
    # So few hosts that none of them is dead.
    needed(hosts.addresses(3)[-1])
    report = hosts.dead_hosts(work(tmp_path, count=3))
    assert [fact.most for fact in report.facts] == [0, 1.0]
    assert report.facts[0].value == 0


def test_a_large_file_behind_a_list_is_measured_with_little_work(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        report = tail.tail_list(Bench(*place, [OURS], runs=1, count=1))
    assert report.facts[0].value == pytest.approx(10 * MB / (16 * 4 * 1024 * 1024))
    assert report.facts[1].most == 1.3


def test_ideals_are_what_the_server_allows() -> None:
    assert limits.ideal([12], 2000, 0.02) == pytest.approx(3.3333, abs=1e-3)
    assert limits.ideal([12, 4, 40], 2000, 0.02) == pytest.approx(14.3333, abs=1e-3)
    assert limits.share(3, 200) == 1.5
    assert limits.share(0, 0) == 0.0
    assert tail.ideal(16 * 4 * 1024 * 1024, 16) == 1.0
    assert hosts.most_with_dead(10.0) == 18.0


def test_a_rate_does_not_count_the_start() -> None:
    assert tail.rates(48 * MB, [9.8, 10.1], [0.2, 0.1]) == pytest.approx([5 * MB, 4.8 * MB])


def test_an_option_is_known_by_its_whole_name() -> None:
    assert tail.knows("--per-host")
    assert not tail.knows("--per-hos")


def test_files_are_counted_by_what_they_hold(tmp_path: Path) -> None:
    contents = {"a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c"}
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "b.jpg").write_bytes(b"busy\n")
    (tmp_path / "d.jpg").write_bytes(b"d")
    assert saved(tmp_path, contents) == (1, 2)


def test_gdl_must_say_what_it_did_and_peers_need_not(tmp_path: Path) -> None:
    does_nothing = [sys.executable, "-c", "pass"]
    bench = work(tmp_path)
    with pytest.raises(Wrong, match="ended with 0 after 0 of 1 files"):
        download(bench, OURS, does_nothing, {"a.jpg": b"a"}, 60)
    peer = Tool("peer", "peer", lambda _: [])
    assert download(bench, peer, does_nothing, {"a.jpg": b"a"}, 60)[1] == 0


def test_a_trial_that_was_killed_is_told(tmp_path: Path) -> None:
    report = Report("case", "title")
    trials = take_trials(work(tmp_path), [OURS], lambda _: Trial(usage(3.0, -9), {SAVED: 4}), report)
    assert report.notes == ["`gdl -q` was not done and killed in 1 of 1 runs"]
    assert str(all_saved(trials["gdl -q"], 5)) == "files missing: 1 (target: at most 0; MISSED)"
    assert times(trials["gdl -q"], 2.0) == 1.5
    assert "| `gdl -q` | 0.200 | 3.00 | 10.0 | 1 | 1 | 4 |" in report.markdown()


def test_peers_come_at_their_own_numbers_and_at_sixteen(tmp_path: Path) -> None:
    job = Job("list", tmp_path, tmp_path / "none.pem")
    arguments = {tool.label: tool.arguments(job) for tool in PARALLEL}
    assert "--parallel-max" not in arguments["curl -Z"]
    assert "16" not in arguments["curl -Z"]
    assert not [one for one in arguments["aria2c -i"] if one.startswith(("-j", "-x"))]
    assert {"-j16", "-x16"} <= set(arguments["aria2c -i -j16 -x16"])
    assert not [one for one in arguments["wget2 -i"] if "threads" in one]


def test_gdl_may_be_alone_or_beside_another_checkout(tmp_path: Path) -> None:
    other = Tool(OTHER, "gdl (other) -q", OURS.arguments)
    bench = Bench(work(tmp_path).server, tmp_path, tmp_path, [OURS, other])
    assert contenders(bench, alone=True) == [OURS, other]
    assert contenders(bench)[:2] == [OURS, other]
    with_options = gdl_with("-j", "64", tool=other)
    assert with_options.label == "gdl (other) -q -j 64"
    assert with_options.arguments(Job("list", tmp_path, tmp_path))[:2] == ["-j", "64"]
