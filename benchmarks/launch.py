"""Runs one command and writes down what it used: ``python -I -S launch.py REPORT COMMAND...``.

The kernel counts a child's peak memory from that of the process it was forked from, so that a large parent's own peak
would show as its child's. This one holds about 8 MB, which is the least that can be told apart.

The report is one line: exit code (negative for a signal), monotonic time of the start, wall, user and system seconds,
peak resident set in bytes.
"""

import os
import sys
import time


def main() -> None:
    report, *command = sys.argv[1:]
    started = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - started
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w") as file:
        file.write(f"{code} {started} {wall} {usage.ru_utime} {usage.ru_stime} {peak}\n")


if __name__ == "__main__":
    main()
