"""The display of a run: what each line says, and what a terminal shows after the bytes written to it."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.items import Address, Item, Running, Tally
from downloader.progress import LASTING, NARROWEST, Bars, Rate, can_draw, file_line, forecast, total_line
from downloader.text import width

pyte = pytest.importorskip("pyte")

KB, MB = 1000, 1_000_000
WIDE = "中文视频文件名非常长的一个例子第十二集高清.mkv"
NAMES = ("cat.jpg", WIDE, "e\u0301te\u0301" * 20 + ".flac", "holiday_photo_2024_000123.jpeg", "{}{0}%s.png")


class Terminal(io.StringIO):
    """A stream whose output a terminal emulator draws."""

    def __init__(self, columns: int = 80, rows: int = 24, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding
        self.columns, self.rows = columns, rows
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._drawing = pyte.Stream(self.screen)
        self.writes = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        self._drawing.feed(text)
        self.writes += 1
        return super().write(text)

    def size(self) -> tuple[int, int]:
        return self.columns, self.rows

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.screen.resize(rows, columns)

    def shown(self) -> list[str]:
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def scrolled(self) -> list[str]:
        top = self.screen.history.top
        return ["".join(line[column].data for column in range(self.columns)).rstrip() for line in top]


def bars(tally: Tally, running: dict[int, Running], terminal: Terminal, environ: dict[str, str]) -> Bars:
    """Bars on a terminal that shows all at once."""

    def write(data: bytes) -> None:
        terminal.write(data.decode(terminal.encoding))

    return Bars(tally, running, stream=terminal, write=write, size=terminal.size, environ=environ)


class Run:
    """A run made of plain data, and its bars on a terminal; its clock starts at 100."""

    def __init__(
        self, columns: int = 80, rows: int = 24, *, encoding: str = "utf-8", expected: int | None = None
    ) -> None:
        self.terminal = Terminal(columns, rows, encoding)
        self.tally = Tally()
        self.running: dict[int, Running] = {}
        self.bars = bars(self.tally, self.running, self.terminal, {"NO_COLOR": "1"})
        self.bars.expected = expected
        self.now = 100.0

    def start(self, name: str, total: int | None = None, received: int = 0) -> int:
        self.tally.read += 1
        key = self.tally.read
        item = Item(Address(f"https://h/{key}"), index=key)
        self.running[key] = Running(item, self.now, name, received, total=total)
        return key

    def end(self, key: int) -> None:
        transfer = self.running.pop(key)
        self.tally.saved += 1
        self.tally.received += transfer.received

    def tick(self, seconds: float = 0.0) -> list[str]:
        self.now += seconds
        self.bars.tick(self.now)
        return self.terminal.shown()


# Rates and forecasts.


def test_a_steady_growth_has_its_rate_from_the_second_look_on() -> None:
    rate = Rate(0.0, 500)
    assert rate.update(0.0, 500) is None
    for second in range(1, 10):
        assert rate.update(second, 500 + second * 100) == pytest.approx(100)


def test_a_rate_forgets_and_a_stall_ends_in_nothing() -> None:
    rate = Rate(0.0, 0)
    rate.update(1.0, MB)
    assert (rate.update(4.0, MB) or 0) < MB / 2
    assert (rate.update(60.0, MB) or 0) < 1
    assert rate.update(61.0, 0) is not None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**12)), min_size=1))
def test_a_rate_is_never_negative_nor_above_the_fastest_growth(steps: list[tuple[float, int]]) -> None:
    rate, now, before, fastest = Rate(0.0, 0), 0.0, 0, 0.0
    for passed, amount in steps:
        if now + passed > now:
            fastest = max(fastest, (amount - before) / (now + passed - now))
            before = amount
        now += passed
        assert 0 <= (rate.update(now, amount) or 0) <= fastest * 1.001 + 1e-6


@pytest.mark.parametrize(
    ("left", "rate", "seconds"), [(10, 4, 3), (0, 4, 0), (10, 0, None), (10, None, None), (10**20, 1, None)]
)
def test_a_forecast_is_in_whole_seconds_or_not_made(left: float, rate: float | None, seconds: float | None) -> None:
    assert forecast(left, rate) == seconds


# Lines.


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (39, "cat.jpg  45%|███▏   |  1.2 MB/s"),
        (79, "cat.jpg  45%|███████▏        |  4.5 MB   1.2 MB/s    5 s"),
        (119, "cat.jpg  45%|██████████████▍                 |   4.5 MB/10.0 MB   1.2 MB/s    5 s"),
    ],
)
def test_a_line_says_more_where_there_is_more_room(columns: int, line: str) -> None:
    made = file_line(columns, "cat.jpg", 4_500 * KB, 10 * MB, 1.2 * MB)
    assert made.split() == line.split()
    assert width(made) == columns


def test_an_unknown_length_has_bytes_and_rate_but_no_percentage() -> None:
    for columns in (39, 79, 199):
        for total in (None, 0, 3 * MB):  # a server that sends more than it promised has promised nothing
            line = file_line(columns, "live.mp4", 3_400 * KB, total, 1.2 * MB)
            assert line.split() == ["live.mp4", "3.4", "MB", "1.2", "MB/s"]
            assert width(line) == columns


@given(
    st.integers(NARROWEST, 300),
    st.sampled_from(NAMES),
    st.integers(0, 10**17),
    st.none() | st.integers(0, 10**17),
    st.none() | st.floats(0, 1e15),
    st.booleans(),
)
def test_a_line_is_exactly_as_wide_as_asked(
    columns: int, name: str, received: int, total: int | None, rate: float | None, ascii_only: bool
) -> None:
    line = file_line(columns, name, received, total, rate, ascii_only=ascii_only)
    assert width(line) == columns
    assert line.isprintable()


def test_the_total_line_names_what_there_is() -> None:
    tally = Tally(read=40, exhausted=True, saved=9, skipped=1, failed=2, waiting=3)
    line = total_line(199, tally, received=3_400 * KB, total=40, rate=1.2 * MB, eta=12, hidden=5)
    first, _, rest = line.split("|")
    assert first == "12/40 files "
    assert rest == "  3.4 MB  1.2 MB/s  2 failed  3 waiting  +5 more  eta 12 s"
    assert width(line) == 199
    assert total_line(79, Tally(saved=1), received=500) == "1 file  500 B"
    assert total_line(79, Tally(saved=5), total=4).startswith("5/4 files  ")


def test_the_total_line_gives_up_the_least_important_first() -> None:
    tally = Tally(saved=10, failed=2, waiting=3)
    lines = [total_line(n, tally, received=3_400 * KB, total=40, rate=1.2 * MB, eta=12, hidden=5) for n in range(70)]
    assert all(len(line) <= columns for columns, line in enumerate(lines))
    assert lines[40] == "12/40 files  1.2 MB/s  2 failed  +5 more"
    assert lines[22] == "12/40 files  2 failed"
    assert lines[11] == "12/40 files"


HOSTS = (
    "example.org waits 12 s, b.example down",
    "example.org waits 12 s, 1 down",
    "1 host waits, 1 down",
    "1 host waits",
)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            103,
            "12/40 files  3.4 MB  1.2 MB/s  2 failed  3 waiting  example.org waits 12 s, b.example down  eta 12 s",
        ),
        (90, "12/40 files  1.2 MB/s  2 failed  example.org waits 12 s, b.example down  eta 12 s"),
        (79, "12/40 files  1.2 MB/s  2 failed  example.org waits 12 s, 1 down  eta 12 s"),
        (64, "12/40 files  1.2 MB/s  2 failed  1 host waits, 1 down  eta 12 s"),
        (56, "12/40 files  1.2 MB/s  2 failed  1 host waits  eta 12 s"),
        (54, "12/40 files  1.2 MB/s  2 failed  1 host waits, 1 down"),
        (45, "12/40 files  1.2 MB/s  2 failed  1 host waits"),
        (39, "12/40 files  2 failed  1 host waits"),
        (34, "12/40 files  2 failed"),
    ],
)
def test_what_keeps_the_run_waiting_is_told_as_well_as_there_is_room(columns: int, line: str) -> None:
    tally = Tally(saved=10, failed=2, waiting=3)
    made = total_line(columns, tally, received=3_400 * KB, total=40, rate=1.2 * MB, eta=12, hosts=HOSTS)
    assert re.sub(r" \|[^|]*\|", "", made) == line


@given(
    st.integers(0, 200),
    st.lists(st.sampled_from(HOSTS), min_size=1, unique=True).map(lambda texts: sorted(texts, key=len, reverse=True)),
    st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
    st.integers(0, 99),
)
def test_the_total_line_is_never_too_wide(
    columns: int, hosts: list[str], done: int, total: int | None, hidden: int
) -> None:
    tally = Tally(saved=done, failed=done // 7, waiting=done // 9)
    line = total_line(columns, tally, received=done * KB, total=total, rate=1e5, eta=1e4, hidden=hidden, hosts=hosts)
    assert width(line) <= columns


# The screen.


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_each_line_fits_the_screen_exactly(columns: int) -> None:
    run = Run(columns)
    for name in NAMES:
        run.start(name, 10 * MB, 1 * MB)
    run.tick()
    shown = run.tick(LASTING)
    assert len(shown) == 1 + len(NAMES)
    for line in shown[1:]:
        assert line.count("|") == 2
    assert [(run.terminal.screen.cursor.x, run.terminal.screen.cursor.y)] == [(0, 0)]


def test_only_files_that_last_get_a_bar() -> None:
    run = Run()
    run.start("long.mp4", 10 * MB)
    assert run.tick(LASTING / 2) == ["0 files  0 B"]
    run.start("short.jpg", 10 * KB)
    assert [line.split()[0] for line in run.tick(LASTING / 2)] == ["0", "long.mp4"]


def test_bars_that_come_and_go_leave_nothing_behind() -> None:
    run = Run(40, 24)
    keys = [run.start(f"file-{n}-{WIDE}", 10 * MB) for n in range(16)]
    assert len(run.tick(1)) == 17
    for gone in (keys[3], keys[15], keys[0]):
        run.end(gone)
    shown = run.tick(0.1)
    assert len(shown) == 14
    assert all(shown)
    run.start("new.jpg", 10 * MB)
    assert run.tick(1)[-1].startswith("new.jpg")
    for key in list(run.running):
        run.end(key)
    assert len(run.tick(0.1)) == 1
    run.bars.close()
    assert run.terminal.shown() == []
    assert run.terminal.scrolled() == []


def test_no_more_bars_than_rows_and_the_rest_is_counted() -> None:
    run = Run(80, 10)
    for n in range(20):
        run.start(f"{n}.mp4", 10 * MB)
    shown = run.tick(1)
    assert [line.split()[0] for line in shown] == ["0", *(f"{n}.mp4" for n in range(8))]
    assert shown[0].endswith("+12 more")
    assert run.terminal.scrolled() == []


@pytest.mark.parametrize(("columns", "rows"), [(20, 24), (1, 1), (80, 1), (80, 2), (80, 3), (NARROWEST, 4)])
def test_a_tiny_screen_shows_what_it_can(columns: int, rows: int) -> None:
    run = Run(columns, rows)
    for n in range(5):
        run.start(f"{n}.mp4", 10 * MB)
    for _ in range(3):
        assert len(run.tick(1)) <= max(1, rows - 1)
    run.bars.close()
    assert run.terminal.shown() == []
    assert not any(run.terminal.scrolled())


def test_messages_stay_above_the_bars_in_their_order() -> None:
    run = Run(40, 8)
    for n in range(3):
        run.start(f"{n}.mp4", 10 * MB)
    run.tick(1)
    messages = [f"failed  https://h/{n}: 404 Not Found" for n in range(6)]
    for message in messages:
        run.bars.print(message)
        shown = run.tick(0.1)
        assert [line.split()[0] for line in shown[-4:]] == ["0", "0.mp4", "1.mp4", "2.mp4"]
    run.bars.close()
    assert run.terminal.scrolled() + run.terminal.shown() == messages


def test_a_message_longer_than_a_row_wraps_and_stays_whole() -> None:
    run = Run(40, 10)
    run.start("a.mp4", 10 * MB)
    run.tick(1)
    for length in (39, 40, 41, 80, 100):
        run.bars.print("x" * length)
    run.tick(0.1)
    run.bars.close()
    text = run.terminal.scrolled() + run.terminal.shown()
    assert "".join(text) == "x" * (39 + 40 + 41 + 80 + 100)


def test_messages_are_shown_before_the_first_frame_and_after_the_last() -> None:
    run = Run()
    run.bars.print("early")
    run.bars.close()
    run.bars.print("late")
    assert run.terminal.shown() == ["early", "late"]


def test_very_many_messages_do_not_pile_up_between_ticks() -> None:
    run = Run()
    run.tick()
    for n in range(2500):
        run.bars.print(f"line {n}")
    assert run.terminal.writes == 3
    run.bars.close()
    assert run.terminal.shown()[-1] == "line 2499"


@pytest.mark.parametrize("rows", [24, 12])
@pytest.mark.parametrize("columns", [40, 120, 33, 20])
def test_a_resized_window_shows_the_next_frame_clean(columns: int, rows: int) -> None:
    run = Run(80, 24)
    for n in range(5):
        run.start(f"{n}.mp4", 10 * MB)
    run.tick(1)
    run.terminal.resize(columns, rows)
    shown = run.tick(0.1)
    assert [line.split()[0] for line in shown] == ["0", *(f"{n}.mp4" for n in range(5) if columns > NARROWEST)]
    assert all(width(line) < columns for line in shown)


def test_a_frame_is_one_write() -> None:
    run = Run()
    for n in range(16):
        run.start(f"{n}.mp4", 10 * MB)
    run.bars.print("a message")
    run.tick(1)
    assert run.terminal.writes == 1


def test_closing_leaves_a_clean_line_and_nothing_is_drawn_afterwards() -> None:
    run = Run()
    run.terminal.write("before\r\n")
    run.start("a.mp4", 10 * MB)
    run.tick(1)
    run.bars.close()
    run.bars.close()
    run.tick(1)
    run.terminal.write("after\r\n")
    assert run.terminal.shown() == ["before", "after"]


def test_names_and_messages_of_strangers_cannot_drive_the_terminal() -> None:
    run = Run()
    hostile = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202egpj.exe"
    run.start(hostile, 10 * MB)
    run.bars.print(f"failed  {hostile}")
    shown = run.tick(1)
    assert len(shown) == 3
    written = run.terminal.getvalue()
    assert not any(control in written for control in ("\x1b[2", "\x1b]", "\x07", "\x9b", "\u202e"))


def test_a_terminal_without_blocks_gets_ascii() -> None:
    run = Run(40, encoding="ascii")
    run.start(WIDE, 10 * MB, 5 * MB)
    run.bars.print("failed  图.jpg")
    shown = run.tick(1)
    assert shown[0] == "failed  ?.jpg"
    assert shown[2].startswith("???????~???.mkv  50%|###")
    assert all(line.isascii() for line in shown)


def test_colour_is_for_failures_only_and_not_with_no_color() -> None:
    for environ, coloured in (({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal()
        bars(Tally(failed=2), {}, terminal, environ).tick(0)
        assert ("\x1b[31m" in terminal.getvalue()) == coloured
        assert terminal.shown() == ["2 files  0 B  2 failed"]
        assert "\x1b[31m" not in _drawn(Tally(saved=2))


def _drawn(tally: Tally) -> str:
    terminal = Terminal()
    bars(tally, {}, terminal, {}).tick(0)
    return terminal.getvalue()


def test_the_total_is_shown_once_it_is_known() -> None:
    run = Run()
    keys = [run.start(f"{n}.jpg", KB, KB) for n in range(4)]
    assert run.tick()[0] == "0 files  4.0 kB"
    run.tally.exhausted = True
    run.end(keys[0])
    run.end(keys[1])
    line = run.tick(0.2)[0]
    assert line.startswith("2/4 files |")
    assert line.endswith("eta 1 s")
    assert Run(expected=9).tick()[0].startswith("0/9 files |")


def test_the_bytes_count_what_is_still_under_way() -> None:
    run = Run()
    run.start("a.mp4", 10 * MB)
    run.tick()
    for received in range(1, 6):
        run.running[1].received = received * MB
        shown = run.tick(0.5)
    assert shown[0] == "0 files  5.0 MB  2.0 MB/s"
    assert "2.0 MB/s" in shown[1]
    run.end(1)
    assert run.tick(0.1)[0].startswith("1 file  5.0 MB")


def test_bytes_of_an_earlier_run_are_part_of_the_bar_but_not_of_the_speed() -> None:
    run = Run()
    run.start("a.mp4", 10 * MB, 5 * MB)
    run.running[1].resumed = 5 * MB
    run.tick()
    for received in range(6, 9):
        run.running[1].received = received * MB
        shown = run.tick(0.5)
    assert shown[0].startswith("0 files  3.0 MB  2.0 MB/s")
    assert "80%|" in shown[1]


def test_a_transfer_that_starts_again_starts_its_bar_again() -> None:
    run = Run()
    run.start("a.mp4", 10 * MB, 9 * MB)
    run.tick(1)
    run.running[1] = Running(run.running[1].item, run.now, "a.mp4", 1 * MB, total=10 * MB)
    assert "10%|" in run.tick(1)[1]


def test_a_stream_that_is_no_terminal_or_a_dumb_one_has_no_bars() -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert can_draw(Tty(), {"TERM": "xterm"})
    assert can_draw(Tty(), {})
    assert not can_draw(Tty(), {"TERM": "dumb"})
    assert not can_draw(io.StringIO(), {"TERM": "xterm"})


def test_a_stream_without_a_size_is_taken_for_80_by_24() -> None:
    written: list[bytes] = []
    tally = Tally(read=2, exhausted=True)
    Bars(tally, {}, stream=io.StringIO(), write=written.append, environ={"NO_COLOR": "1"}).tick(0)
    assert "0/2 files |" in written[0].decode()


def test_the_hosts_in_trouble_are_asked_for_at_each_tick() -> None:
    run = Run(encoding="ascii")
    run.bars._hosts = lambda now: (f"a…z.org waits {110 - now:.0f} s",) if now < 110 else ()
    assert run.tick()[0].endswith("  a~z.org waits 10 s")
    assert run.tick(4)[0].endswith("  a~z.org waits 6 s")
    assert "waits" not in run.tick(6)[0]


def test_the_display_starts_no_thread() -> None:
    before = threading.active_count()
    run = Run()
    run.start("a.mp4", 10 * MB)
    run.tick(1)
    assert threading.active_count() == before


def test_a_tick_costs_what_it_shows_and_not_what_runs() -> None:
    run = Run(80, 24)
    for n in range(1000):
        run.start(f"{n}.mp4", 10 * MB)
    run.bars._write = lambda _: None
    run.now += 1
    start = time.perf_counter()
    for _ in range(10):
        run.tick(0.1)
    assert (time.perf_counter() - start) / 10 < 0.02
