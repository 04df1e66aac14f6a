"""The engine with real servers: one result for each item, no more work at once than allowed, nothing read too early."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import faults as f
from support.processes import wait_until
from support.samples import mp4, page, picture

from downloader import claims, errors, naming, tries
from downloader import engine as engines
from downloader.engine import BREATH, Engine, window
from downloader.items import Address, BadItem, Item, Listener
from downloader.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from downloader.items import Result

BODY = picture(1, 5000)
pytestmark = pytest.mark.timeout(120)


class Recorder(Listener):
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.retries: list[tuple[str, str, float, int]] = []

    def finished(self, result: Result) -> None:
        self.results.append(result)

    def retrying(self, item: Item, error: errors.ItemError, delay: float, attempt: int) -> None:
        self.retries.append((item.url, error.kind, delay, attempt))


def item(url: str, index: int = 1, **more: Any) -> Item:
    return Item(Address(url), index=index, line=index, **more)


def items(urls: Iterable[str]) -> Iterator[Item]:
    for index, url in enumerate(urls, 1):
        yield item(url, index)


def bad(index: int) -> BadItem:
    return BadItem(errors.InputError(f"list:{index}: no URL"), index, "list", index)


def run(source: Iterable[Item | BadItem], output: Path | str, **more: Any) -> tuple[Engine, Recorder]:
    """One run to its end; more than a minute is a hang."""
    recorder = Recorder()
    engine = Engine(Options(**{"output": str(output), "timeout": 10.0, **more}), listeners=[recorder])
    with gevent.Timeout(60):
        engine.run(source)
    assert not engine.running
    assert engine.tally.done == engine.tally.read == len(recorder.results)
    assert engine.tally.waiting == 0
    return engine, recorder


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "BASE", 0.02)


# One result each


def test_an_empty_run_is_over_at_once(tmp_path: Path) -> None:
    engine, recorder = run([], tmp_path / "out")
    assert recorder.results == []
    assert engine.tally.exhausted
    assert not (tmp_path / "out").exists(), "no folder before there is a file"


OUTCOMES = {
    "ok": ("saved", None, (f.ok(BODY),)),
    "chunked": ("saved", None, (f.chunked(BODY),)),
    "moved": ("saved", None, (f.redirect("/target.jpg"),)),
    "gone": ("failed", "http", (f.status(404, b"gone"),)),
    "page": ("failed", "not-media", (f.ok(page(), "image/jpeg"),)),
    "loop": ("failed", "redirect", (f.redirect("/loop.jpg"),)),
    "flaky": ("saved", None, (f.truncated(BODY, 100), f.ok(BODY))),
    "refused": ("saved", None, (f.status(503, retry_after=0), f.ok(BODY))),
    "broken": ("failed", "body", (f.truncated(BODY, 100),)),
    "reset": ("failed", "connection", (f.reset,)),
    "bad": ("failed", "input", ()),
    "duplicate": ("skipped", None, ()),
}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # A host that does nothing but break connections is left alone ever longer, which takes its time.
    outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=25).filter(lambda found: found.count("reset") < 3),
    jobs=st.integers(1, 8),
    per_host=st.none() | st.integers(1, 4),
)
def test_every_item_has_exactly_one_result_whatever_becomes_of_it(
    outcomes: list[str], jobs: int, per_host: int | None
) -> None:
    with f.FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        server.route("/target.jpg", f.ok(BODY))
        source: list[Item | BadItem] = [item(server.route("/first.jpg", f.ok(BODY)), 1)]
        expected: dict[int, tuple[str, str | None]] = {1: ("saved", None)}
        for index, name in enumerate(outcomes, 2):
            status, kind, responses = OUTCOMES[name]
            expected[index] = (status, kind)
            if name == "bad":
                source.append(bad(index))
            elif name == "duplicate":
                source.append(item(server.url("/first.jpg"), index))
            else:
                source.append(item(server.route(f"/{name}-{index}.jpg", *responses), index))
                if name == "loop":
                    server.route(f"/{name}-{index}.jpg", f.redirect(f"/{name}-{index}.jpg"))
        engine, recorder = run(source, folder, jobs=jobs, per_host=per_host, retries=1)
        found = {result.line: (result.status, result.error and result.error.kind) for result in recorder.results}
        assert found == expected
        assert engine.tally.saved == Counter(status for status, _ in expected.values())["saved"]
        saved = sorted(result.path for result in recorder.results if result.status == "saved" and result.path)
        assert saved == sorted(os.path.join(folder, name) for name in os.listdir(folder))
        assert server.peak <= min(jobs, per_host or jobs)


def test_a_result_carries_what_the_responses_told(tmp_path: Path, faults: f.FaultServer) -> None:
    target = faults.route("/target.jpg", f.ok(BODY))
    urls = [
        faults.route("/moved.jpg", f.redirect("/target.jpg")),
        faults.route("/flaky.jpg", f.status(503), f.truncated(BODY, 100), f.ok(BODY)),
        faults.route("/gone.jpg", f.status(404)),
        "http://127.0.0.1:1/refused.jpg",
    ]
    extra = {"id": 7}
    source = [item(url, index, extra=extra, source="list", text=b"text") for index, url in enumerate(urls, 1)]
    _, recorder = run(source, tmp_path, retries=2)
    moved, flaky, gone, refused = sorted(recorder.results, key=lambda result: result.line)
    assert (moved.final_url, moved.attempts, moved.http_status, moved.bytes) == (target, 1, 200, len(BODY))
    assert (moved.content_type, moved.path) == ("image/jpeg", str(tmp_path / "moved.jpg"))
    assert (flaky.attempts, flaky.http_status, flaky.final_url) == (3, 200, urls[1])
    assert flaky.elapsed > 0.01, "the waits count"
    assert (gone.http_status, gone.attempts, gone.final_url, gone.path) == (404, 1, urls[2], None)
    assert (refused.http_status, refused.attempts, refused.final_url) == (None, 3, None)
    for result, url in zip((moved, flaky, gone, refused), urls, strict=True):
        assert (result.url, result.source, result.text, result.extra) == (url, "list", b"text", extra)
        assert (result.error is None) == (result.status == "saved")
        assert result.error is None or result.reason == str(result.error)


def test_listeners_hear_of_retries_with_their_delay_and_number(tmp_path: Path, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.status(503), f.truncated(BODY, 100), f.ok(BODY))
    _, recorder = run([item(url)], tmp_path)
    assert [(kind, attempt) for _, kind, _, attempt in recorder.retries] == [("http", 1), ("body", 2)]
    assert all(0 < delay < 1 for _, _, delay, _ in recorder.retries)
    assert [result.status for result in recorder.results] == ["saved"]


def test_a_bug_costs_its_item_and_not_the_run(tmp_path: Path, faults: f.FaultServer) -> None:
    good = faults.route("/a.jpg", f.ok(BODY))
    broken = Item(Address("http://127.0.0.1:1/" + "\0"), index=1)  # no list makes such an item
    _, recorder = run([broken, item(good, 2)], tmp_path, retries=0)
    assert sorted(result.status for result in recorder.results) == ["failed", "saved"]


class FullSet(claims.SeenSet):
    """A set that cannot grow beyond ten texts."""

    texts = 0

    def add(self, text: str) -> bool:
        self.texts += 1
        if self.texts > 10:
            raise errors.StopRun("the temporary folder is full")
        return super().add(text)


class FullLedger(claims.NameLedger):
    """A ledger that cannot give more than ten names."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = FullSet()


@pytest.mark.parametrize("read_on", [True, False], ids=["read on", "read no further"])
@pytest.mark.parametrize("place", ["seen", "names", "late names"])
def test_when_no_list_can_grow_any_more_every_item_read_has_its_result(
    tmp_path: Path, faults: f.FaultServer, monkeypatch: pytest.MonkeyPatch, place: str, read_on: bool
) -> None:
    monkeypatch.setattr(engines, *(("SeenSet", FullSet) if place == "seen" else ("NameLedger", FullLedger)))
    faults.otherwise(f.ok(BODY))
    # A first item whose name only its response tells: the names of those behind it are given at its end.
    first = faults.route("/unnamed", f.script(f.pause(0.3), f.status(404)))
    urls = [faults.url(f"/{number}.jpg") for number in range(60)]
    source = items([first, *urls] if place == "late names" else urls)
    recorder = Recorder()
    engine = Engine(Options(output=str(tmp_path), timeout=10.0, jobs=4), listeners=[recorder], read_on=read_on)
    with gevent.Timeout(60):
        engine.run(source)
    assert str(engine.stopped) == "the temporary folder is full"
    assert engine.tally.done == engine.tally.read == len(recorder.results)
    assert len({result.line for result in recorder.results}) == len(recorder.results)
    assert engine.tally.failed
    if read_on:
        assert len(recorder.results) == len(urls) + (place == "late names")
    saved = {result.path for result in recorder.results if result.status == "saved"}
    assert {str(path) for path in tmp_path.iterdir()} == saved


def test_an_address_no_list_could_give_costs_its_item_and_not_the_run(tmp_path: Path, faults: f.FaultServer) -> None:
    good = faults.route("/a.jpg", f.ok(BODY))
    strange = ["ftp://127.0.0.1/y.jpg", "", "no url", "http://", "http://[/y.jpg", "http://127.0.0.1:99999/y.jpg"]
    _, recorder = run([*items(strange), item(good, len(strange) + 1)], tmp_path, retries=0)
    found = {result.line: result.status for result in recorder.results}
    assert found == {**dict.fromkeys(range(1, len(strange) + 1), "failed"), len(strange) + 1: "saved"}


# Reading


@pytest.mark.parametrize(("jobs", "least"), [(1, 512), (64, 512), (100, 800)])
def test_the_window_is_several_times_what_runs_at_once(jobs: int, least: int) -> None:
    assert least <= window(Options(jobs=jobs)) < 10_000


def test_a_host_that_wants_to_be_left_alone_does_not_keep_the_next_in_the_list_waiting(
    tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    faults.otherwise(f.status(429, retry_after=3), f.ok(BODY))
    more_faults.otherwise(f.ok(BODY))
    urls = [faults.url(f"/{number}.jpg") for number in range(300)]
    urls += [more_faults.url(f"/other-{number}.jpg") for number in range(10)]
    _, recorder = run(items(urls), tmp_path, jobs=4)
    assert {result.status for result in recorder.results} == {"saved"}
    assert more_faults.requests[-1].time < faults.requests[0].time + 2.9


def test_items_are_read_only_when_there_is_room(tmp_path: Path, faults: f.FaultServer) -> None:
    ready = threading.Event()
    faults.otherwise(f.when(ready, f.ok(BODY)))
    recorder = Recorder()
    engine = Engine(Options(output=str(tmp_path), jobs=4, timeout=30.0), listeners=[recorder])
    ahead: list[int] = []

    def source() -> Iterator[Item]:
        for index in range(1, 401):
            ahead.append(index - len(recorder.results))
            yield item(faults.url(f"/{index}.jpg"), index)

    running = gevent.spawn(engine.run, source())
    gevent.sleep(0.3)
    assert faults.serving == 4
    assert engine.tally.read == len(ahead) <= window(engine.options)
    ready.set()
    running.get(timeout=60)
    assert max(ahead) <= window(engine.options)
    assert len(recorder.results) == 400
    assert faults.peak == 4


def test_sockets_and_timers_have_their_turn_while_the_list_is_read(
    tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    for server in (faults, more_faults):
        server.otherwise(f.ok(BODY))
    read: list[int] = []

    def source() -> Iterator[Item]:
        for index in range(1, 3001):
            if index == 1:
                gevent.spawn_later(0.0001, lambda: read.append(engine.tally.read))
            yield item((faults if index % 2 else more_faults).url(f"/{index}.jpg"), index)

    engine = Engine(Options(output=str(tmp_path), jobs=4), listeners=[Recorder()])
    running = gevent.spawn(engine.run, source())
    while not read:
        gevent.sleep(0.01)
    running.kill()
    assert read[0] <= 4 * BREATH


def test_others_have_their_turn_while_a_stop_gives_results(tmp_path: Path, faults: f.FaultServer) -> None:
    faults.otherwise(f.hold)
    turn = 0

    class Timed(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.turns = Counter[int]()

        def finished(self, result: Result) -> None:
            super().finished(result)
            self.turns[turn] += 1

    def other() -> None:
        nonlocal turn
        while True:
            gevent.sleep(0)
            turn += 1

    recorder = Timed()
    engine = Engine(Options(output=str(tmp_path), jobs=4), listeners=[recorder])
    running = gevent.spawn(engine.run, items(faults.url(f"/{number}.jpg") for number in range(5000)))
    while faults.serving < 4 or engine.tally.read < 500:
        gevent.sleep(0.01)
    ticking = gevent.spawn(other)
    engine.stop(errors.Interrupted("enough"))
    running.get(timeout=60)
    ticking.kill()
    assert engine.tally.read == len(recorder.results) >= 500
    assert max(recorder.turns.values()) <= BREATH + 4


def test_a_run_that_is_interrupted_itself_gives_every_item_its_result(tmp_path: Path, faults: f.FaultServer) -> None:
    faults.otherwise(f.hold)
    recorder = Recorder()
    engine = Engine(Options(output=str(tmp_path), jobs=4), listeners=[recorder])
    running = gevent.spawn(engine.run, items(faults.url(f"/{number}.jpg") for number in range(5000)))
    while faults.serving < 4 or engine.tally.read < 500:
        gevent.sleep(0.01)
    running.kill(timeout=60)
    assert running.dead
    assert engine.tally.read == len(recorder.results) >= 500


def test_what_needs_no_request_does_not_hold_up_what_does(tmp_path: Path, faults: f.FaultServer) -> None:
    recorder = Recorder()
    engine = Engine(Options(output=str(tmp_path), timeout=30.0), listeners=[recorder])
    most = 300_000

    def source() -> Iterator[Item | BadItem]:
        yield item(faults.route("/a.jpg", f.script(f.pause(0.05), f.ok(BODY))))
        for index in range(2, most):
            if engine.tally.saved:
                return
            yield bad(index)

    with gevent.Timeout(60):
        engine.run(source())
    assert engine.tally.saved == 1
    assert engine.tally.read < most - 2


def test_the_iterator_is_closed_at_the_end_and_at_a_stop(tmp_path: Path, faults: f.FaultServer) -> None:
    url = faults.route("/a.jpg", f.ok(BODY))
    closed: list[str] = []

    def source(name: str, *, forever: bool) -> Iterator[Item | BadItem]:
        try:
            yield item(url)
            while forever:
                yield bad(2)
        finally:
            closed.append(name)

    run(source("whole", forever=False), tmp_path)

    class Stopper(Recorder):
        def finished(self, result: Result) -> None:
            super().finished(result)
            engine.stop(errors.Interrupted("enough"))

    engine = Engine(Options(output=str(tmp_path)), listeners=[Stopper()])
    with gevent.Timeout(60):
        engine.run(source("stopped", forever=True))
    assert closed == ["whole", "stopped"]


def test_what_the_callers_iterator_raises_is_raised_after_the_rest_is_done(
    tmp_path: Path, faults: f.FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    url = faults.route("/a.jpg", f.script(f.pause(0.1), f.ok(BODY)))
    recorder = Recorder()

    def source() -> Iterator[Item]:
        yield item(url)
        raise ZeroDivisionError("mine")

    engine = Engine(Options(output=str(tmp_path)), listeners=[recorder])
    with gevent.Timeout(60), pytest.raises(ZeroDivisionError, match="mine"):
        engine.run(source())
    assert [result.status for result in recorder.results] == ["saved"]
    assert "Traceback" not in capfd.readouterr().err, "it is the caller's to tell"


def test_what_cannot_be_iterated_over_is_the_callers_error(tmp_path: Path) -> None:
    engine = Engine(Options(output=str(tmp_path)))
    with gevent.Timeout(10), pytest.raises(TypeError):
        engine.run(None)  # type: ignore[arg-type]


def test_an_options_file_that_cannot_be_used_is_said_before_anything_is_read(tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text("no cookies here\n")

    read: list[int] = []

    def source() -> Iterator[Item]:
        read.append(1)
        yield item("http://127.0.0.1:1/a.jpg")

    for options in (Options(cookies=str(jar)), Options(cacert=str(jar)), Options(name="{nonsense}")):
        with pytest.raises(errors.UsageError):
            Engine(options).run(source())
    assert read == []


# Concurrency


def test_as_many_run_at_once_as_allowed_and_not_one_more(
    tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    for server in (faults, more_faults):
        server.otherwise(f.script(f.pause(0.02), f.ok(BODY)))
    urls = [server.url(f"/{number}.jpg") for number in range(30) for server in (faults, more_faults)]
    run(items(urls), tmp_path / "1", jobs=6, per_host=4)
    assert 2 <= faults.peak <= 4
    assert 2 <= more_faults.peak <= 4
    run(items(urls), tmp_path / "2", jobs=1)
    assert [len(server.requests) for server in (faults, more_faults)] == [60, 60]


def test_hosts_share_the_slots_whatever_the_lists_order(
    tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    for server in (faults, more_faults):
        server.otherwise(f.script(f.pause(0.01), f.ok(BODY)))
    urls = [faults.url(f"/{number}.jpg") for number in range(50)] + [more_faults.url("/last.jpg")]
    _, recorder = run(items(urls), tmp_path, jobs=2)
    order = [result.line for result in recorder.results]
    assert order.index(51) < 25, "one host's crowd does not keep another host waiting"


def test_a_host_that_asks_for_it_is_left_alone_while_others_go_on(
    tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer
) -> None:
    more_faults.otherwise(f.ok(BODY))
    faults.otherwise(f.ok(BODY))
    first = faults.route("/first.jpg", f.status(429, retry_after=1), f.ok(BODY))
    urls = [first, *(more_faults.url(f"/{n}.jpg") for n in range(20)), *(faults.url(f"/{n}.jpg") for n in range(20))]
    _, recorder = run(items(urls), tmp_path, jobs=1)
    assert all(result.status == "saved" for result in recorder.results)
    refusal = faults.requests_for("/first.jpg")[0].time
    after = [request.time for request in faults.requests if request.time > refusal]
    assert min(after) >= refusal + 0.95, "nothing is asked of a host before its time"
    assert sum(request.time < refusal + 0.9 for request in more_faults.requests) >= 10
    assert {result.line: result.attempts for result in recorder.results}[1] == 2


def test_an_item_that_waits_for_its_retry_holds_no_slot(tmp_path: Path, faults: f.FaultServer) -> None:
    retrying = faults.route("/retrying.jpg", f.truncated(BODY, 10), f.ok(BODY))
    faults.otherwise(f.ok(BODY))
    # Longer than what the others take.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries, "BASE", 2.0)
        _, recorder = run(items([retrying, *(faults.url(f"/{n}.jpg") for n in range(10))]), tmp_path, jobs=1)
    assert [result.line for result in recorder.results][-1] == 1
    assert recorder.results[-1].attempts == 2


def test_max_time_bounds_an_item_as_a_whole(tmp_path: Path, faults: f.FaultServer, more_faults: f.FaultServer) -> None:
    urls = [
        faults.route("/stalled.jpg", f.stalled(BODY, 100)),
        faults.route("/drip.jpg", f.drip(BODY, 0.05)),
        more_faults.route("/flaky.jpg", f.status(503)),
        faults.route("/endless.mp4", f.endless_body(start=BODY, interval=0.02)),
    ]
    before = time.monotonic()
    _, recorder = run(items(urls), tmp_path, max_time=0.5, retries=1000)
    assert time.monotonic() - before < 20
    kinds = {result.line: result.error and result.error.kind for result in recorder.results}
    assert kinds == {1: "max-time", 2: "max-time", 3: "http", 4: "max-time"}
    assert list(tmp_path.iterdir()) == []


# Files


def test_a_name_goes_to_the_first_in_the_list_not_to_the_fastest(tmp_path: Path, faults: f.FaultServer) -> None:
    slow = faults.route("/x/a.jpg", f.script(f.pause(0.3), f.ok(picture(1, 5000))))
    fast = faults.route("/y/a.jpg", f.ok(picture(2, 5000)))
    run(items([slow, fast]), tmp_path)
    assert (tmp_path / "a.jpg").read_bytes() == picture(1, 5000)
    assert (tmp_path / naming.collided("a.jpg", fast)).read_bytes() == picture(2, 5000)
    assert len(list(tmp_path.iterdir())) == 2


def test_names_the_responses_tell_are_given_in_the_lists_order(tmp_path: Path, faults: f.FaultServer) -> None:
    slow = faults.route("/get?1", f.script(f.pause(0.3), f.ok(picture(1, 5000), content_disposition="filename=a.jpg")))
    fast = faults.route("/get?2", f.ok(picture(2, 5000), content_disposition="filename=a.jpg"))
    run(items([slow, fast]), tmp_path)
    assert (tmp_path / "a.jpg").read_bytes() == picture(1, 5000)
    assert (tmp_path / naming.collided("a.jpg", fast)).read_bytes() == picture(2, 5000)


def test_several_that_want_one_name_wait_for_it_in_parts_of_their_own(tmp_path: Path, faults: f.FaultServer) -> None:
    clip = mp4(2 * 1024 * 1024)
    go_on = threading.Event()
    first = item(faults.route("/get?1", f.when(go_on, f.ok(BODY, content_disposition="filename=first.jpg"))))
    header = f.head(200, content_type="video/mp4", content_length=len(clip))
    url = faults.route("/a.mp4", f.script(header + clip[:-1], f.when(go_on, f.script(clip[-1:]))))
    logins = [Item(Address(url, f"user{index}", "x"), index=index, line=index) for index in (2, 3, 4)]

    def watch() -> None:
        faults.wait_for_requests(4)
        wait_until(lambda: len(list(tmp_path.glob("a*.mp4.part"))) == 3, "three parts")

    def release() -> None:
        try:
            watch()
        finally:
            go_on.set()

    releasing = threading.Thread(target=release)
    releasing.start()
    _, recorder = run([first, *logins], tmp_path)
    releasing.join()
    assert [(result.status, result.reason) for result in recorder.results] == [("saved", None)] * 4
    assert {path.read_bytes() == clip for path in tmp_path.glob("a*.mp4")} == {True}
    assert len(list(tmp_path.iterdir())) == 4


def test_no_name_is_remembered_when_its_part_is_gone(tmp_path: Path, faults: f.FaultServer) -> None:
    clip = mp4(2 * 1024 * 1024)
    urls = [faults.route("/whole.mp4", f.ok(clip, "video/mp4")), faults.route("/cut.mp4", f.truncated(clip, 1_500_000))]
    engine, recorder = run(items(urls), tmp_path, retries=0)
    assert {result.line: result.status for result in recorder.results} == {1: "saved", 2: "failed"}
    assert [engine._context.listing.has_state(name) for name in ("whole.mp4", "cut.mp4")] == [False, False]


def test_what_exists_is_skipped_without_a_request(tmp_path: Path, faults: f.FaultServer) -> None:
    faults.otherwise(f.ok(BODY))
    (tmp_path / "a.jpg").write_bytes(b"mine")
    _, recorder = run(items([faults.url("/a.jpg"), faults.url("/b.jpg")]), tmp_path)
    assert {result.line: (result.status, result.reason) for result in recorder.results} == {
        1: ("skipped", "exists"),
        2: ("saved", None),
    }
    assert [request.path for request in faults.requests] == ["/b.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("existing", "files"), [("overwrite", {"a.jpg": BODY}), ("rename", {"a.jpg": b"mine", "a (1).jpg": BODY})]
)
def test_what_exists_is_replaced_or_kept_beside_where_asked(
    tmp_path: Path, faults: f.FaultServer, existing: str, files: dict[str, bytes]
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"mine")
    run(items([faults.route("/a.jpg", f.ok(BODY))]), tmp_path, existing=existing)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_dry_run_writes_nothing_and_asks_only_for_names_it_does_not_know(
    tmp_path: Path, faults: f.FaultServer
) -> None:
    faults.otherwise(f.ok(BODY))
    _, recorder = run(items([faults.url("/a.jpg"), faults.url("/get?x")]), tmp_path / "out", dry_run=True)
    assert [(result.status, result.reason) for result in recorder.results] == [("skipped", "dry run")] * 2
    assert all(result.path for result in recorder.results)
    assert not (tmp_path / "out").exists()
    assert [request.target for request in faults.requests] == ["/get?x"]


# Runs


def test_one_run_after_the_other_leaves_nothing_behind(tmp_path: Path, faults: f.FaultServer) -> None:
    faults.otherwise(f.ok(BODY))
    run(items([faults.url("/warm.jpg")]), tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        run(items(faults.url(f"/{number}-{each}.jpg") for each in range(50)), tmp_path)
    deadline = time.monotonic() + 20
    while len(os.listdir("/proc/self/fd")) > before or faults.open_connections:
        assert time.monotonic() < deadline, os.listdir("/proc/self/fd")
        gevent.sleep(0.01)


def test_two_runs_may_go_on_in_two_threads(tmp_path: Path, faults: f.FaultServer) -> None:
    faults.otherwise(f.ok(BODY))
    found: dict[int, int] = {}

    def work(number: int) -> None:
        engine, _ = run(items(faults.url(f"/{each}.jpg") for each in range(50)), tmp_path / str(number))
        found[number] = engine.tally.saved
        gevent.get_hub().destroy(destroy_loop=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {0: 50, 1: 50}
