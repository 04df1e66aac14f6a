"""A host is looked up once for all of its requests, few hosts at once, and none waits for another's look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import faults as f
from support.samples import picture

from benchmarks.resolver import seen
from downloader.errors import ConnectError
from downloader.options import Options
from downloader.transport.lookups import CACHED, LOOKUPS, Lookups, State, Turn
from downloader.transport.resolving import looks_names_up

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Completed, RunGdl
    from support.nginx import StartNginx

    from benchmarks.resolver import Resolver

PICTURE = picture(1, 2000)
A, B, C = (f"http://{name}.test:80" for name in "abc")


def states(*turns: Turn) -> list[str]:
    return [turn.state.name for turn in turns]


# Decisions


def test_the_first_request_goes_and_the_others_wait_for_its_address() -> None:
    table = Lookups(30)
    first, second, third = (table.ask(A, 0) for _ in range(3))
    assert states(first, second, third) == ["FIRST", "WAITS", "WAITS"]
    assert table.found(first, 1) == [second, third]
    assert states(first, second, third, table.ask(A, 2)) == ["KNOWN"] * 4
    assert table.gone(first, 3) == []


def test_a_known_host_is_forgotten_before_libcurl_forgets_it() -> None:
    table = Lookups(30)
    table.found(table.ask(A, 0), 0)
    assert table.knows(A, CACHED - 11)
    assert not table.knows(A, CACHED - 9)
    assert table.ask(A, CACHED - 9).state is State.FIRST


def test_where_a_connection_may_be_shared_the_others_wait_for_it_but_other_hosts_for_the_address_only() -> None:
    table = Lookups(30, most=1)
    first, second, other = table.ask(A, 0), table.ask(A, 0), table.ask(B, 0)
    assert table.resolved(first, 1) == [other]
    assert table.resolved(first, 1) == []
    assert states(first, second, other) == ["FIRST", "WAITS", "FIRST"]
    assert table.found(first, 2) == [second]
    assert second.state is State.KNOWN
    assert table.found(other, 3) == []
    assert table._running == 0


def test_a_failure_holds_for_all_that_have_waited_for_it() -> None:
    table = Lookups(30)
    first, second, third = (table.ask(A, 0) for _ in range(3))
    failure = ConnectError("unknown")
    assert table.failed(first, failure, 1) == [second, third]
    assert states(second, third) == ["FAILED", "FAILED"]
    assert second.failure is third.failure is failure
    assert table.ask(A, 2).state is State.FIRST, "it is tried again when it is asked for again"


def test_after_one_that_was_given_up_the_next_one_tries() -> None:
    table = Lookups(30)
    first, second, third = (table.ask(A, 0) for _ in range(3))
    assert table.gone(first, 5) == [second]
    assert states(second, third) == ["FIRST", "WAITS"]
    assert table.gone(second, 6) == [third]
    assert table.gone(third, 7) == []
    assert table.ask(A, 8).state is State.FIRST


def test_who_has_waited_for_as_long_as_a_look_up_may_take_is_late() -> None:
    table = Lookups(30)
    first, second, early, young = (table.ask(A, now) for now in (0, 0, 0, 20))
    assert table.gone(first, 29) == [second]
    assert table.gone(second, 31) == [early, young]
    assert states(early, young) == ["FAILED", "FIRST"]


def test_only_so_many_hosts_are_looked_up_at_once_and_the_others_keep_their_order() -> None:
    table = Lookups(30, most=2)
    a, b, c, d = (table.ask(f"http://{name}.test:80", 0) for name in "abcd")
    assert states(a, b, c, d) == ["FIRST", "FIRST", "WAITS", "WAITS"]
    assert table.found(b, 1) == [c]
    assert table.gone(a, 40) == [d]
    assert states(c, d) == ["FIRST", "FIRST"], "in line for others is nobody's fault"


def test_a_host_that_failed_goes_behind_those_in_line() -> None:
    table = Lookups(30, most=1)
    first, again, other = table.ask(A, 0), table.ask(A, 0), table.ask(B, 0)
    assert table.gone(first, 1) == [other]
    assert table.gone(other, 2) == [again]


def test_who_waits_may_leave() -> None:
    table = Lookups(30, most=1)
    first, second, other = table.ask(A, 0), table.ask(A, 0), table.ask(B, 0)
    assert table.gone(second, 1) == table.gone(other, 1) == []
    assert table.gone(first, 2) == []
    assert not table._lookups
    assert not table._line


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "name.onion", "a.localhost.", "0x7f.1."])
def test_what_libcurl_knows_by_itself_needs_no_look_up(host: str) -> None:
    table = Lookups(30, most=1)
    table.ask(A, 0)
    assert table.ask(f"http://{host}:80", 0).state is State.KNOWN
    assert table.knows(f"http://{host}:80", 1e9)


def test_a_million_hosts_need_no_more_room_than_some() -> None:
    table = Lookups(30, remembered=100)
    for number in range(1000):
        table.found(table.ask(f"http://{number}.test:80", number), number)
    assert len(table._known) == 100
    assert not table._lookups
    assert table.knows("http://999.test:80", 1000)


@given(st.data())
def test_every_request_goes_or_is_told_why_not(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 3))
    table = Lookups(5, most=most)
    now = 0.0
    alive: list[Turn] = []
    resolved: set[Turn] = set()

    def woken(turns: list[Turn]) -> None:
        assert State.WAITS not in {turn.state for turn in turns}
        for turn in turns:
            if turn.state is not State.FIRST:
                alive.remove(turn)

    for _ in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.integers(0, 4))
        event = data.draw(st.sampled_from(["ask", "resolved", "found", "failed", "gone", "leave"]))
        if event == "ask":
            turn = table.ask(data.draw(st.sampled_from([A, B, C, "http://d.test:80"])), now)
            if turn.state is not State.KNOWN:
                alive.append(turn)
        elif chosen := [turn for turn in alive if (turn.state is State.WAITS) == (event == "leave")]:
            turn = data.draw(st.sampled_from(chosen))
            if event == "resolved":
                woken(table.resolved(turn, now))
                resolved.add(turn)
                continue
            alive.remove(turn)
            if event == "failed":
                woken(table.failed(turn, ConnectError("unknown"), now))
            else:
                woken(table.found(turn, now) if event == "found" else table.gone(turn, now))
        firsts = [turn for turn in alive if turn.state is State.FIRST]
        assert len({turn.host for turn in firsts}) == len(firsts)
        running = len([turn for turn in firsts if turn not in resolved])
        assert running <= most
        if running < most:
            assert {turn.host for turn in alive} == {turn.host for turn in firsts}, "none waits without need"
    while firsts := [turn for turn in alive if turn.state is State.FIRST]:
        alive.remove(firsts[0])
        woken(table.gone(firsts[0], now))
    assert not alive
    assert not table._lookups
    assert not table._line
    assert table._running == 0


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        ({}, {}, True),
        ({}, {"proxy": "http://proxy.test:3128"}, False),
        ({"https_proxy": "http://proxy.test:3128"}, {}, False),
        ({"ALL_PROXY": "socks5://proxy.test"}, {}, False),
        ({"HTTP_PROXY": "http://proxy.test"}, {}, True),
        ({"http_proxy": "http://proxy.test"}, {"proxy": ""}, True),
        ({"http_proxy": ""}, {}, True),
    ],
)
def test_behind_a_proxy_no_servers_are_looked_up(
    environment: dict[str, str], settings: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert looks_names_up(Options(**settings), direct=False) is expected
    assert looks_names_up(Options(**settings), direct=True)


# For real


def outcomes(done: Completed) -> dict[str, int]:
    found: dict[str, int] = {}
    for result in done.results:
        kind = result["status"] if result["error"] is None else result["error"]["kind"]
        found[kind] = found.get(kind, 0) + 1
    return found


@pytest.mark.parametrize("delay", [0, 100])
def test_a_name_is_looked_up_once_for_many_requests_at_once(
    gdl: RunGdl, resolver: Resolver, faults: f.FaultServer, tmp_path: Path, delay: int
) -> None:
    faults.otherwise(f.ok(PICTURE))
    log = tmp_path / "lookups"
    urls = [f"http://www.test:{faults.port}/{number}.jpg" for number in range(40)]
    done = gdl("--json", "-j", "40", "-o", "out", *urls, env=resolver.environment(log, delay=delay))
    assert outcomes(done) == {"saved": 40}, done.stderr
    assert seen(log).names == {"www.test": 1}


def list_names(nginx: StartNginx, folder: Path, count: int) -> list[str]:
    """Write ``urls.txt`` with a picture at each of so many names of one server; return the names."""
    (folder / "site").mkdir()
    (folder / "site" / "a.jpg").write_bytes(PICTURE)
    server = nginx(folder / "site")
    names = [f"www{number}.test" for number in range(count)]
    (folder / "urls.txt").write_text("".join(server.http("/a.jpg", name) + f" {name}.jpg\n" for name in names))
    return names


def test_many_names_are_looked_up_a_few_at_once(
    gdl: RunGdl, resolver: Resolver, nginx: StartNginx, tmp_path: Path
) -> None:
    log = tmp_path / "lookups"
    names = list_names(nginx, tmp_path, 500)
    done = gdl("--json", "-j", "200", "-o", "out", "urls.txt", env=resolver.environment(log, delay=20))
    assert outcomes(done) == {"saved": 500}, done.stderr
    assert seen(log).names == dict.fromkeys(names, 1)
    assert seen(log).most <= LOOKUPS


def test_thousands_of_names_all_arrive(gdl: RunGdl, resolver: Resolver, nginx: StartNginx, tmp_path: Path) -> None:
    log = tmp_path / "lookups"
    names = list_names(nginx, tmp_path, 2000)
    done = gdl("--json", "-j", "256", "-o", "out", "urls.txt", env=resolver.environment(log))
    assert outcomes(done) == {"saved": 2000}, done.stderr
    assert seen(log).names == dict.fromkeys(names, 1)


def test_a_name_that_hangs_or_is_unknown_holds_up_no_other(
    gdl: RunGdl, resolver: Resolver, faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.otherwise(f.ok(PICTURE))
    bad = [f"http://{name}.test:{faults.port}/{number}.jpg" for name in ("hang", "fail") for number in range(5)]
    good = [f"http://www{number}.test:{faults.port}/good{number}.jpg" for number in range(60)]
    done = gdl(
        *("--json", "-j", "20", "--timeout", "1.5", "--retries", "0", "-o", "out", *bad, *good),
        env=resolver.environment(tmp_path / "lookups", delay=5),
    )
    ended = outcomes(done)
    assert ended.pop("saved") == 60, done.stderr
    assert ended.keys() <= {"timeout", "connection", "unreachable"}, done.stderr
    assert seen(tmp_path / "lookups").names["hang.test"] <= 2
    assert seen(tmp_path / "lookups").names["fail.test"] <= 2


def test_names_that_hang_leave_threads_for_the_others(
    gdl: RunGdl, resolver: Resolver, faults: f.FaultServer, tmp_path: Path
) -> None:
    faults.otherwise(f.ok(PICTURE))
    names = [f"hang{number}" for number in range(3 * LOOKUPS)] + [f"www{number}" for number in range(20)]
    urls = [f"http://{name}.test:{faults.port}/{name}.jpg" for name in names]
    done = gdl(
        *("--json", "--timeout", "1", "--retries", "0", "-o", "out", *urls),
        env=resolver.environment(tmp_path / "lookups"),
    )
    assert outcomes(done) == {"saved": 20, "timeout": 3 * LOOKUPS}, done.stderr


def test_waiting_for_an_address_counts_to_the_time_a_url_may_take(
    gdl: RunGdl, resolver: Resolver, tmp_path: Path
) -> None:
    urls = [f"http://hang.test/{number}.jpg" for number in range(5)]
    done = gdl("--json", "--max-time", "0.5", "-o", "out", *urls, env=resolver.environment(tmp_path / "lookups"))
    assert outcomes(done) == {"max-time": 5}, done.stderr
