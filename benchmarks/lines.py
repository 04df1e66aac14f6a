"""Prints a list of any length: ``python -I -S lines.py PATTERN COUNT``, with ``{0}`` in PATTERN for the number."""

import itertools
import sys


def main() -> None:
    pattern, count = sys.argv[1], int(sys.argv[2])
    numbers = iter(range(count))
    try:
        while batch := list(itertools.islice(numbers, 1000)):
            sys.stdout.write("".join([f"{pattern.format(number)}\n" for number in batch]))
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
