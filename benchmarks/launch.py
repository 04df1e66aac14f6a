"""Runs one command and writes down what it used: ``python -I -S launch.py REPORT SECONDS COMMAND...``.

The kernel counts a child's peak memory from that of the process it was forked from, so that a large parent's own peak
would show as its child's. This one holds about 8 MB, which is the least that can be told apart.

SECONDS is when the command is killed with SIGKILL if it still runs then, 0 for never.

The report is one line: exit code (negative for a signal), monotonic time of the start, wall, user and system seconds,
peak resident set in bytes.
"""

import os
import sys
import time


def main() -> None:
    report, seconds, *command = sys.argv[1:]
    started = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    if float(seconds):
        kill_after(float(seconds), pid)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - started
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w") as file:
        file.write(f"{code} {started} {wall} {usage.ru_utime} {usage.ru_stime} {peak}\n")


def kill_after(seconds: float, pid: int) -> None:
    # Imported here, because their memory would show as the command's.
    import contextlib
    import signal

    def kill(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
