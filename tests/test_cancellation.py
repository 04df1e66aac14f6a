"""A run may be stopped or killed at any stage of any item: nothing leaks, and each item keeps its one result."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import gevent
import pytest
from gevent.event import Event
from support import faults as f
from support.samples import picture

from downloader import errors, tries
from downloader.engine import Engine
from downloader.items import Address, BadItem, Item, Listener
from downloader.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from downloader.items import Result

SMALL = picture(1, 5000)
LARGE = picture(2, 2_000_000)
pytestmark = pytest.mark.timeout(120)


class Recorder(Listener):
    def __init__(self) -> None:
        self.results: list[Result] = []

    def finished(self, result: Result) -> None:
        self.results.append(result)


@dataclass
class Scene:
    """A run that has come to the stage where it is to be stopped."""

    server: f.FaultServer
    folder: Path
    stack: ExitStack
    source: list[str] = field(default_factory=list)
    jobs: int = 4
    recorder: Recorder = field(default_factory=Recorder)

    def prepare(self) -> None:
        options = Options(output=str(self.folder), jobs=self.jobs, timeout=60.0, retries=5)
        self.engine = Engine(options, listeners=[self.recorder])
        self.runner = gevent.spawn(self.engine.run, self.items())

    def items(self) -> Iterator[Item]:
        for index, url in enumerate(self.source, 1):
            yield Item(Address(url), index=index, line=index)

    def until(self, condition: Callable[[], object], what: str, seconds: float = 20) -> None:
        """Let the hub run until the condition is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen; {self.engine.tally}"
            gevent.sleep(0.005)


# The stages. Each makes its scene and waits until its one interesting item is there.


def before_the_first_step(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.ok(SMALL))]
    scene.prepare()


def while_connecting(scene: Scene) -> None:
    port = scene.stack.enter_context(f.unanswering_port())
    scene.source = [f"http://127.0.0.1:{port}/a.jpg"]
    scene.prepare()
    scene.until(lambda: scene.engine.running, "the first attempt")
    gevent.sleep(0.05)


def while_the_head_is_awaited(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.hold)]
    scene.prepare()
    scene.until(lambda: scene.server.serving, "the request")


def in_a_small_body(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.stalled(SMALL, 3000))]
    scene.prepare()
    scene.until(lambda: any(running.received for running in scene.engine.running.values()), "the first bytes")


def in_a_large_body(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.stalled(LARGE, 1_500_000))]
    scene.prepare()
    part = scene.folder / "a.jpg.part"
    scene.until(lambda: part.exists() and part.stat().st_size > 1_000_000, "the part")


def in_a_body_that_can_be_continued(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.stalled(LARGE, 1_500_000, etag='"v1"', accept_ranges="bytes"))]
    scene.prepare()
    part = scene.folder / "a.jpg.part"
    scene.until(lambda: part.exists() and part.stat().st_size > 1_000_000, "the part")


def after_a_redirect(scene: Scene) -> None:
    scene.server.route("/b.jpg", f.hold)
    scene.source = [scene.server.route("/a.jpg", f.redirect("/b.jpg"))]
    scene.prepare()
    scene.until(lambda: scene.server.requests_for("/b.jpg"), "the second request")


def while_waiting_for_a_retry(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.status(503, retry_after=60))]
    scene.prepare()
    scene.until(lambda: scene.engine.tally.waiting, "the wait")


def while_waiting_for_a_slot(scene: Scene) -> None:
    scene.jobs = 1
    scene.source = [scene.server.route("/a.jpg", f.hold), scene.server.route("/b.jpg", f.ok(SMALL))]
    scene.prepare()
    scene.until(lambda: scene.server.serving and scene.engine.tally.read == 2, "the first request")


def while_waiting_for_a_slot_after_a_retry(scene: Scene) -> None:
    scene.jobs = 1
    scene.source = [scene.server.route("/a.jpg", f.status(503)), scene.server.route("/b.jpg", f.hold)]
    scene.prepare()
    scene.until(lambda: scene.server.requests_for("/b.jpg"), "the second item")
    scene.until(lambda: any(host.begun for host in scene.engine._slots._scheduler.hosts()), "the end of the delay")


def while_waiting_for_its_name(scene: Scene) -> None:
    scene.source = [scene.server.route("/first", f.hold), scene.server.route("/a.jpg", f.ok(SMALL))]
    scene.prepare()
    scene.until(lambda: scene.server.requests_for("/a.jpg"), "the request")
    scene.until(lambda: len(scene.engine.running) == 1 and scene.engine.tally.received, "the body")


STAGES = [
    before_the_first_step,
    while_connecting,
    while_the_head_is_awaited,
    in_a_small_body,
    in_a_large_body,
    in_a_body_that_can_be_continued,
    after_a_redirect,
    while_waiting_for_a_retry,
    while_waiting_for_a_slot,
    while_waiting_for_a_slot_after_a_retry,
    while_waiting_for_its_name,
]
every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__.replace("_", " "))


@pytest.fixture
def scene(tmp_path: Path, faults: f.FaultServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(tries, "BASE", 0.02)
    gevent.sleep(0.001)  # the hub's own descriptors are there
    with ExitStack() as stack:
        scene = Scene(faults, tmp_path / "out", stack)
        yield scene
        if not scene.runner.dead:
            scene.runner.kill(timeout=20)


def open_files(folder: Path) -> list[str]:
    links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return [link for link in links if link.startswith(str(folder))]


def check_nothing_leaks(scene: Scene, stage: Callable[[Scene], None]) -> None:
    engine = scene.engine
    assert not engine.running
    assert not engine._greenlets
    assert not engine._slots._grants
    assert engine.tally.waiting == 0
    transport = engine._context.transport if hasattr(engine, "_context") else None
    assert transport is None or not transport._active
    scene.until(lambda: not scene.server.open_connections, "the end of all connections")
    left = sorted(os.listdir(scene.folder)) if scene.folder.exists() else []
    if stage is in_a_body_that_can_be_continued:
        assert left == ["a.jpg.part", "a.jpg.part.json"]
        assert LARGE.startswith((scene.folder / "a.jpg.part").read_bytes())
    else:
        assert [name for name in left if ".part" in name] == []
    # A thread that waits for the disk closes its own descriptor when that has answered.
    scene.until(lambda: not open_files(scene.folder), "the end of all files")


def check_results(scene: Scene, *, complete: bool = True) -> None:
    lines = [result.line for result in scene.recorder.results]
    assert len(lines) == len(set(lines)), "an item has two results"
    if complete:
        assert scene.engine.tally.read == scene.engine.tally.done == len(lines)
    for result in scene.recorder.results:
        if result.status == "saved":
            assert result.path is not None
            with open(result.path, "rb") as file:
                assert file.read() == SMALL
        else:
            assert result.error is not None
            assert result.error.kind == "interrupted", result


# A stop


@every_stage
def test_a_stop_gives_every_item_its_result_and_leaves_nothing(scene: Scene, stage: Callable[[Scene], None]) -> None:
    stage(scene)
    scene.engine.stop(errors.Interrupted("stopped by the test"))
    scene.engine.stop(errors.Interrupted("twice"))
    scene.runner.get(timeout=20)
    assert str(scene.engine.stopped) == "stopped by the test"
    check_results(scene)
    check_nothing_leaks(scene, stage)
    if scene.recorder.results and scene.recorder.results[-1].status == "failed":
        assert "stopped by the test" in (scene.recorder.results[-1].reason or "")


def test_a_whole_file_gets_its_name_even_when_the_run_is_stopped(scene: Scene) -> None:
    while_waiting_for_its_name(scene)
    scene.engine.stop(errors.Interrupted("stopped by the test"))
    scene.runner.get(timeout=20)
    assert {result.line: result.status for result in scene.recorder.results} == {1: "failed", 2: "saved"}


def test_a_stop_before_the_run_reads_nothing(scene: Scene) -> None:
    scene.source = [scene.server.route("/a.jpg", f.ok(SMALL))] * 3
    engine = scene.engine = Engine(Options(output=str(scene.folder)), listeners=[scene.recorder])
    engine.stop(errors.Interrupted("stopped by the test"))
    scene.runner = gevent.spawn(engine.run, scene.items())
    scene.runner.get(timeout=20)
    check_results(scene)
    assert not scene.server.requests


@pytest.mark.parametrize("steps", range(6))
def test_a_stop_after_any_number_of_turns_of_the_hub_ends_the_run(scene: Scene, steps: int) -> None:
    scene.source = [scene.server.route(f"/{number}.jpg", f.ok(SMALL)) for number in range(20)]
    scene.prepare()
    for _ in range(steps):
        gevent.sleep(0)
    scene.engine.stop(errors.Interrupted("stopped by the test"))
    scene.runner.get(timeout=20)
    check_results(scene)
    check_nothing_leaks(scene, while_connecting)


def test_a_source_that_stops_the_run_loses_nothing_it_gave(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    urls = [scene.server.route(f"/{number}.jpg", f.ok(SMALL)) for number in range(3)]

    def source() -> Iterator[Item]:
        for index, url in enumerate(urls, 1):
            yield Item(Address(url), index=index, line=index)
        raise errors.StopRun("the list cannot be read any more")

    engine = scene.engine = Engine(Options(output=str(scene.folder)), listeners=[scene.recorder])
    scene.runner = gevent.spawn(engine.run, source())
    scene.runner.get(timeout=20)
    assert isinstance(engine.stopped, errors.StopRun)
    check_results(scene)
    assert len(scene.recorder.results) == 3
    assert "Traceback" not in capfd.readouterr().err


def test_a_listener_may_stop_the_run_at_any_result(scene: Scene) -> None:
    url = scene.server.route("/a.jpg", f.ok(SMALL))

    class Stopper(Recorder):
        def finished(self, result: Result) -> None:
            super().finished(result)
            engine.stop(errors.StopRun("standard output is closed"))

    def source() -> Iterator[Item | BadItem]:
        yield BadItem(errors.Interrupted("kind of bad"), 1, "list", 1)
        for index in range(2, 6):
            yield Item(Address(f"{url}?{index}"), index=index, line=index)

    scene.recorder = Stopper()
    engine = scene.engine = Engine(Options(output=str(scene.folder)), listeners=[scene.recorder])
    scene.runner = gevent.spawn(engine.run, source())
    scene.runner.get(timeout=20)
    check_results(scene)


def test_a_source_that_waits_for_more_is_closed_by_a_stop(scene: Scene) -> None:
    more = Event()
    closed: list[bool] = []

    def source() -> Iterator[Item]:
        try:
            yield Item(Address(scene.server.route("/a.jpg", f.ok(SMALL))), index=1, line=1)
            more.wait()
        finally:
            closed.append(True)

    engine = scene.engine = Engine(Options(output=str(scene.folder)), listeners=[scene.recorder])
    scene.runner = gevent.spawn(engine.run, source())
    scene.until(lambda: scene.recorder.results, "the first result")
    engine.stop(errors.Interrupted("stopped by the test"))
    scene.runner.get(timeout=20)
    assert closed == [True]
    assert [result.status for result in scene.recorder.results] == ["saved"]
    assert not engine.tally.exhausted


# A kill


@every_stage
def test_killing_the_run_leaves_nothing_behind(scene: Scene, stage: Callable[[Scene], None]) -> None:
    stage(scene)
    scene.runner.kill(timeout=20)
    assert scene.runner.dead
    check_results(scene, complete=False)
    check_nothing_leaks(scene, stage)


@pytest.mark.parametrize(
    "stage",
    [stage for stage in STAGES if stage not in (before_the_first_step, while_waiting_for_a_slot)],
    ids=lambda stage: stage.__name__.replace("_", " "),
)
def test_killing_an_items_greenlet_costs_that_item_only(scene: Scene, stage: Callable[[Scene], None]) -> None:
    stage(scene)
    for greenlet in list(scene.engine._greenlets.values()):
        greenlet.kill(timeout=20)
    scene.runner.get(timeout=5)
    assert scene.engine.stopped is None
    check_results(scene)
    check_nothing_leaks(scene, stage)


def test_a_run_can_follow_one_that_was_killed(scene: Scene) -> None:
    in_a_large_body(scene)
    scene.runner.kill(timeout=20)
    scene.server.route("/a.jpg", f.ok(SMALL))
    scene.recorder = Recorder()
    scene.prepare()
    scene.runner.get(timeout=20)
    assert [result.status for result in scene.recorder.results] == ["saved"]
    assert os.listdir(scene.folder) == ["a.jpg"]
