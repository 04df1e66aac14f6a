"""The scheduler in worlds without a network: how near it comes to what each server can do, and what must hold in all.

The worlds are models on a virtual clock, with seeds: a result is the same on each machine. What is lost, started twice
or too much, sent to a held host or starved `support.world.World` finds by itself.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.servers import Away, Bucket, Capped, Hanging, Link, Refusing, Steady, Workers
from support.world import TURNAROUND, File, World

from downloader.limits import CEILING
from downloader.schedule import KNOWN_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.world import Server

MANY = 2000
LATENCY = 0.02
A = "a"


def ran(server: Server, files: list[File] | int = MANY, **options: Any) -> World:
    """What became of a run against one server."""
    listed = [File(A)] * files if isinstance(files, int) else files
    return World({A: server}, **options).run(listed)


def level_at(world: World, seconds: float, host: str = A) -> int:
    """The level that ``host`` had so many seconds after the beginning."""
    return [level for since, level, _ in world.levels[host] if since <= seconds][-1]


def last_level(world: World, host: str = A) -> int:
    return world.levels[host][-1][1]


def assert_all_saved(world: World, files: int = MANY) -> None:
    assert world.failed == {}
    assert world.saved == set(range(files))


# Caps: as many as the server can stand, not one more.


@pytest.mark.parametrize("jitter", [0.0, 0.1], ids=["even", "uneven"])
@pytest.mark.parametrize(("cap", "times"), [(3, 2.0), (7, 2.0), (12, 1.5), (30, 2.0), (100, 2.0)])
def test_a_cap_is_found_with_a_few_refusals_though_each_costs_a_second(cap: int, times: float, jitter: float) -> None:
    world = ran(Capped(cap, jitter=jitter))
    assert_all_saved(world)
    assert world.wall <= times * MANY * LATENCY / cap
    assert world.refused < 0.03 * world.requests
    assert last_level(world) in (cap, cap + 1, CEILING)


@pytest.mark.parametrize("kind", [{"retry_after": None, "status": 429}, {"resets": True}], ids=["429", "resets"])
@pytest.mark.parametrize("cap", [3, 7, 12, 30])
def test_a_cap_without_a_retry_after_is_found_too(cap: int, kind: dict[str, Any]) -> None:
    world = ran(Capped(cap, **kind))
    assert_all_saved(world)
    assert world.wall <= 1.5 * MANY * LATENCY / cap
    assert world.refused < 0.03 * world.requests


@pytest.mark.parametrize("jitter", [0.0, 0.1], ids=["even", "uneven"])
@pytest.mark.parametrize(("retry_after", "times"), [(1.0, 1.8), (None, 1.4)])
def test_a_cap_that_changes_is_followed(retry_after: float | None, times: float, jitter: float) -> None:
    def cap(answered: int) -> int:
        return 12 if answered < MANY else 4 if answered < 2 * MANY else 40

    world = ran(Capped(cap, retry_after=retry_after, jitter=jitter), 3 * MANY)
    assert_all_saved(world, 3 * MANY)
    assert world.wall <= times * MANY * LATENCY * (1 / 12 + 1 / 4 + 1 / 40)
    assert world.refused < 0.03 * world.requests


@pytest.mark.parametrize("pause", [1.0, 5.0, 30.0])
def test_the_longer_a_host_wants_to_be_left_alone_the_more_rarely_it_is_tried_for_more(pause: float) -> None:
    files = 20_000
    world = ran(Capped(12, retry_after=pause), files)
    assert_all_saved(world, files)
    assert world.wall <= 1.35 * files * LATENCY / 12 + pause


@pytest.mark.parametrize("seconds", [10, 60])
@pytest.mark.parametrize("kind", [{"retry_after": 1.0}, {"retry_after": None}, {"resets": True}])
@pytest.mark.parametrize("cap", [1, 3])
def test_a_cap_is_no_outage_though_what_was_let_in_takes_long(cap: int, kind: dict[str, Any], seconds: float) -> None:
    world = ran(Capped(cap, seconds, **kind), 30, timeout=100.0)
    assert_all_saved(world, 30)
    assert world.wall <= 1.1 * 30 * seconds / cap


@pytest.mark.parametrize(("retry_after", "times"), [(None, 1.2), (1.0, 2.0)])
def test_a_server_that_counts_requests_a_second_is_asked_at_about_that_rate(
    retry_after: float | None, times: float
) -> None:
    world = ran(Bucket(50, 20, retry_after=retry_after))
    assert_all_saved(world)
    assert world.wall <= times * MANY / 50
    assert world.refused < 0.06 * world.requests


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (3, 3), (2, 1), (0.5, 5)])
def test_a_slow_limiter_that_does_not_say_for_how_long_loses_nothing_and_is_not_hammered(
    rate: float, burst: float
) -> None:
    files = 100
    world = ran(Bucket(rate, burst), files)
    assert_all_saved(world, files)
    assert world.wall <= 1.3 * files / rate
    assert world.refused <= 3.5 * files


def test_a_host_that_answers_429_to_everything_is_given_up_after_a_while() -> None:
    world = ran(Bucket(0.0, 20), MANY)
    assert len(world.saved) == 20
    assert len(world.failed) == MANY - 20
    assert world.requests < 150
    assert 60 < world.wall < 200, "there are limits by the minute"


def test_files_behind_many_that_are_always_refused_are_asked_for_all_the_same() -> None:
    listed = [File(A, broken=number < 100) for number in range(120)]
    world = ran(Steady(LATENCY), listed, jobs=1)
    assert world.saved == set(range(100, 120))


# Latency: as many as pay.


def test_a_far_server_is_used_no_worse_than_by_fifty_at_once() -> None:
    for connecting in (0.05, 0.1):
        world = ran(Steady(0.05, connecting=connecting))
        assert_all_saved(world)
        assert world.wall <= MANY / 50 * 0.05


def test_a_server_without_a_limit_is_soon_used_to_the_ceiling() -> None:
    world = ran(Steady(LATENCY))
    assert_all_saved(world)
    assert world.wall <= 1.5 * MANY * (LATENCY + TURNAROUND) / CEILING


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("jitter", [0.1, 0.5, 0.9])
def test_uneven_latencies_do_not_pass_for_a_limit(jitter: float, seed: int) -> None:
    world = ran(Steady(LATENCY, jitter=jitter), 5 * MANY, seed=seed)
    assert_all_saved(world, 5 * MANY)
    assert world.wall <= 2.0 * 5 * MANY * LATENCY / CEILING


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("workers", [2, 4, 8, 16])
def test_growth_stops_near_where_a_server_gets_no_faster(workers: int, jitter: float) -> None:
    world = ran(Workers(workers, LATENCY, wire=LATENCY, jitter=jitter), 5 * MANY)
    assert_all_saved(world, 5 * MANY)
    assert world.wall <= 1.1 * 5 * MANY * LATENCY / workers
    assert last_level(world) <= max(20, 6 * workers)


def test_a_server_with_workers_enough_is_used_well() -> None:
    world = ran(Workers(40, LATENCY, wire=LATENCY, jitter=0.2))
    assert world.wall <= 1.4 * MANY * LATENCY / 40


# Bytes: a full link is not filled by more, a slow connection is by others.


def test_growth_stops_where_large_files_fill_the_link() -> None:
    world = ran(Link(12.5e6), [File(A, 5_000_000)] * 200)
    assert_all_saved(world, 200)
    assert world.wall <= 1.05 * 200 * 5e6 / 12.5e6
    assert last_level(world) <= 16
    assert world.most_in_flight[A] <= 16


def test_growth_pays_where_each_connection_is_slow() -> None:
    files = [File(A, 5_000_000)] * 1000
    world = ran(Link(each=4e6), files)
    assert_all_saved(world, len(files))
    assert last_level(world) == CEILING
    assert world.wall <= 1.6 * len(files) * 5e6 / 4e6 / CEILING


@pytest.mark.parametrize(("each", "latency"), [(20e3, 0.6), (40e3, 0.6), (100e3, 0.3)])
def test_growth_is_not_judged_before_the_new_requests_bring_anything(each: float, latency: float) -> None:
    world = ran(Link(each=each, latency=latency), [File(A, 40_000)] * 1000)
    assert_all_saved(world, 1000)
    levels = [level for _, level, _ in world.levels[A]]
    assert levels[:5] == [8, 16, 32, 64, CEILING]


def test_growth_stops_where_slow_connections_fill_the_link_together() -> None:
    files = [File(A, 5_000_000)] * 1000
    world = ran(Link(160e6, each=4e6), files)
    assert_all_saved(world, len(files))
    assert world.wall <= 1.2 * len(files) * 5e6 / 160e6
    assert last_level(world) < CEILING


@pytest.mark.parametrize("seed", range(3))
def test_sizes_of_all_kinds_fill_the_link_all_the_same(seed: int) -> None:
    sizes = random.Random(seed)  # noqa: S311 - it need not be secret
    files = [File(A, min(200_000_000, int(20_000 * sizes.paretovariate(1.1)))) for _ in range(MANY)]
    world = ran(Link(12.5e6, each=10e6), files, seed=seed)
    assert_all_saved(world)
    total, largest = sum(file.size for file in files), max(file.size for file in files)
    assert world.wall <= 1.3 * total / 12.5e6 + largest / 10e6


# Files that are the server's fault, hosts that are not there.


@pytest.mark.parametrize("resets", [False, True], ids=["503", "resets"])
@pytest.mark.parametrize("seed", range(2))
def test_files_that_are_always_refused_slow_down_no_other_and_lose_none(seed: int, resets: bool) -> None:
    files = 10_000
    chance = random.Random(seed)  # noqa: S311 - it need not be secret
    listed = [File(A, broken=chance.random() < 0.05) for _ in range(files)]
    broken = {index for index, file in enumerate(listed) if file.broken}
    world = ran(Steady(LATENCY, resets=resets), listed, seed=seed)
    assert set(world.failed) == broken
    assert len(world.saved) == files - len(broken)
    tries = 6  # of each of them
    needed = (files + tries * len(broken)) * (LATENCY + TURNAROUND) / CEILING
    assert world.saved_at - world.began <= 1.5 * needed + 3
    assert world.wall <= needed + 80  # the backoffs of the last of them, and the host's own
    assert max(level for since, level, _ in world.levels[A] if since > 1) >= CEILING // 2


HOSTS = 200
EACH = 20
TIMEOUT = 30.0


def farm(dead: bool) -> dict[str, Server]:
    """Hosts of which one in twenty is dead: half of those refuse, half hang."""
    return {
        f"h{number}": (Refusing() if number // 20 % 2 else Hanging()) if dead and number % 20 == 7 else Steady(0.1)
        for number in range(HOSTS)
    }


def listing(*, by_host: bool) -> list[File]:
    names = [f"h{number}" for number in range(HOSTS)]
    return [File(name) for name in names for _ in range(EACH)] if by_host else [File(name) for name in names] * EACH


@pytest.mark.parametrize("by_host", [False, True], ids=["mixed", "sorted"])
def test_dead_hosts_cost_one_timeout(by_host: bool) -> None:
    files = listing(by_host=by_host)
    alive = World(farm(dead=False), timeout=TIMEOUT).run(files)
    world = World(farm(dead=True), timeout=TIMEOUT).run(files)
    assert world.wall <= 1.3 * alive.wall + TIMEOUT
    assert len(world.failed) == EACH * HOSTS // 20
    assert {files[index].host for index in world.failed} == {f"h{number}" for number in range(7, HOSTS, 20)}
    live = max(ended for name, ended in world.ended_at.items() if int(name[1:]) % 20 != 7) - world.began
    assert live <= 2 * alive.wall, "the live ones wait for the dead"
    assert {error.kind for error in world.failed.values()} <= {"unreachable", "connection", "timeout"}
    quick = sum(error.kind == "unreachable" for error in world.failed.values())
    assert quick >= len(world.failed) // 2


@pytest.mark.parametrize("away", [0.3, 1.0, 5.0, 17.0])
def test_a_host_that_is_away_for_a_while_loses_nothing_and_is_asked_for_as_much_as_before(away: float) -> None:
    files = 20_000
    world = ran(Away(LATENCY, begin=1.0, end=1.0 + away), files)
    assert_all_saved(world, files)
    assert world.wall <= 1.4 * (files * (LATENCY + TURNAROUND) / CEILING + away) + 2
    assert last_level(world) == CEILING
    # Each of those that are let in again finds nobody once more: as the waits between grow, that is not often.
    assert world.refused <= 8 * CEILING


def test_a_host_that_does_not_come_back_is_given_up() -> None:
    world = ran(Away(LATENCY, begin=1.0, end=1e9), 10_000)
    assert len(world.saved) + len(world.failed) == 10_000
    assert world.failed
    assert world.wall <= 120


# Several hosts.


def test_a_list_sorted_by_host_keeps_the_slots_busy() -> None:
    names = [f"h{number}" for number in range(20)]
    world = World({name: Steady(0.03) for name in names}, jobs=64, per_host=4)
    world.run(File(name) for name in names for _ in range(500))
    assert_all_saved(world, 10_000)
    assert world.wall <= 1.2 * 10_000 * 0.03 / 64
    assert set(world.most_in_flight.values()) == {4}


@pytest.mark.parametrize("per_host", [1, 3, 20, 200])
def test_a_limit_that_the_user_sets_is_reached_and_kept(per_host: int) -> None:
    world = ran(Steady(LATENCY), per_host=per_host, jobs=256)
    assert_all_saved(world)
    assert world.most_in_flight[A] == per_host


@pytest.mark.parametrize("delay", [0.01, 0.1])
def test_requests_to_a_host_are_as_far_apart_as_the_user_wants(delay: float) -> None:
    files = 200
    world = World({"a": Steady(LATENCY), "b": Capped(3)}, delay=delay)
    world.run(File("ab"[number % 2]) for number in range(2 * files))
    assert_all_saved(world, 2 * files)
    assert files * delay * 0.99 - delay <= world.wall <= files * delay * 1.1 + 2


NOISY: dict[str, Callable[[], Server]] = {
    "one at a time": lambda: Capped(1, retry_after=None),
    "two, and pauses": lambda: Capped(2, retry_after=1.0),
    "few a second": lambda: Bucket(5, 5),
    "silent": Hanging,
    "closed": Refusing,
    "slow": lambda: Steady(5.0),
}


@pytest.mark.parametrize("kind", NOISY)
def test_a_noisy_host_does_not_slow_the_others_down(kind: str) -> None:
    server = NOISY[kind]()
    names = ["noisy", *(f"h{number}" for number in range(10))]
    world = World({name: Steady(LATENCY) for name in names} | {"noisy": server}, jobs=32)
    world.run(File(names[number % len(names)]) for number in range(100 * len(names)))
    assert len(world.saved) + len(world.failed) == 100 * len(names)
    others = max(ended for name, ended in world.ended_at.items() if name != "noisy") - world.began
    slots = 32 - 8  # those that the noisy one may have
    assert others <= 1.5 * 1000 * (LATENCY + TURNAROUND) / slots + 0.2


def test_any_number_of_hosts_leaves_tables_of_a_bounded_size() -> None:
    servers: dict[str, Server] = defaultdict(lambda: Steady(LATENCY))
    servers |= {str(number): Capped(0, retry_after=None) for number in range(0, 20_000, 4)}
    servers |= {str(number): Refusing() for number in range(0, 20_000, 50)}
    world = World(servers, retries=1)
    seen: list[int] = []

    def files() -> Iterator[File]:
        for number in range(20_000):
            if number % 1000 == 0:
                seen.append(max(map(len, tables(world))))
            yield File(str(number))

    world.run(files())
    assert len(world.saved) + len(world.failed) == 20_000
    assert world.saved
    assert max(seen) <= max(KNOWN_HOSTS, 16_384)
    scheduler = world.scheduler
    assert len(scheduler._known) <= KNOWN_HOSTS
    assert scheduler.start(world.now + 1000) == []  # what was held is held no more
    assert not scheduler._hosts
    assert not scheduler._ring
    assert not scheduler._again
    assert not scheduler._holds


def tables(world: World) -> list[Any]:
    scheduler = world.scheduler
    found: list[Any] = [scheduler._hosts, scheduler._known, scheduler._ring, scheduler._running, scheduler._delayed]
    return [*found, scheduler._holds, scheduler.closed, scheduler._again]


# Worlds of all kinds.

LATENCIES = st.sampled_from([0.001, 0.02, 0.2, 3.0])
JITTERS = st.sampled_from([0.0, 0.1, 0.9])
SERVERS: list[st.SearchStrategy[Callable[[], Server]]] = [
    st.builds(lambda latency, jitter: lambda: Steady(latency, connecting=0.05, jitter=jitter), LATENCIES, JITTERS),
    st.builds(
        lambda cap, latency, retry_after, resets, jitter: (
            lambda: Capped(cap, latency, retry_after=retry_after, resets=resets, jitter=jitter)
        ),
        st.integers(0, 40),
        LATENCIES,
        st.sampled_from([None, 0.0, 1.0, 7.0, 300.0, 1000.0]),
        st.booleans(),
        JITTERS,
    ),
    st.builds(
        lambda after, low, high: lambda: Capped(lambda answered: low if answered < after else high),
        st.integers(0, 50),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    st.builds(lambda rate, burst: lambda: Bucket(rate, burst), st.sampled_from([1, 20, 500]), st.integers(1, 20)),
    st.builds(lambda count, jitter: lambda: Workers(count, 0.05, jitter=jitter), st.integers(1, 20), JITTERS),
    st.builds(
        lambda rate, each: lambda: Link(rate, each=each),
        st.sampled_from([1e4, 1e6, 1e8]),
        st.sampled_from([1e4, 1e6, 1e8]),
    ),
    st.just(Refusing),
    st.just(Hanging),
    st.builds(
        lambda begin, seconds: lambda: Away(0.05, begin=begin, end=begin + seconds),
        st.floats(0, 3),
        st.sampled_from([0.1, 3.0, 30.0]),
    ),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    servers=st.lists(st.one_of(SERVERS), min_size=1, max_size=6),
    lists=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60), st.booleans()), min_size=1, max_size=8),
    jobs=st.integers(1, 128),
    per_host=st.none() | st.integers(1, 20),
    delay=st.sampled_from([0.0, 0.0, 0.01, 1.0]),
    retries=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_in_every_world_each_item_ends_once_and_every_promise_is_kept(
    servers: list[Callable[[], Server]],
    lists: list[tuple[int, int, bool]],
    jobs: int,
    per_host: int | None,
    delay: float,
    retries: int,
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - it need not be secret
    files = [
        File(f"h{number % len(servers)}", int(1000 * chance.paretovariate(1)) + 1, broken=broken)
        for number, count, broken in lists
        for _ in range(count)
    ]
    named = {f"h{number}": make() for number, make in enumerate(servers)}
    world = World(
        named, jobs=jobs, per_host=per_host, delay=delay, retries=retries, timeout=5.0, seed=seed, strict=True
    ).run(files)
    assert world.saved.isdisjoint(world.failed)
    assert len(world.saved) + len(world.failed) == len(files)
    assert len(world.scheduler._known) <= len(servers)
    assert not world.scheduler._running
    assert not world.scheduler._again
    healthy = {name for name, server in named.items() if type(server) in (Steady, Workers)}
    for index, error in world.failed.items():
        assert files[index].host not in healthy or files[index].broken or "nothing was heard" in str(error)
