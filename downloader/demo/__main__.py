"""``python -m downloader.demo [OUTPUT]``: gdl at work on a server of its own, then a check of what it saved."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, NoReturn

import click

from downloader.demo.server import EXHIBITS, DemoServer, media_bytes
from downloader.text import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_OUTPUT = "demo-output"

EXPECT = """\
What to expect:
  - The video comes slowly, so that you see its bar (on a terminal).
  - aurora.webp is answered "503, come back in 1 second" twice. gdl waits as
    asked and tries again (with -v it would say so).
  - Two URLs end in cover.jpg. You get both: one name gets a mark made from
    its URL.
  - portrait.jpg is really a page to sign in. gdl refuses to save it as a
    picture and says so.
"""

GOOD = """\
gdl ended with exit code 1, because one URL of twelve gave no picture: a script
would notice, and the page did not end up on your disk under the name
portrait.jpg. Everything else is here, byte for byte as the server has it.
"""


def fresh_folder(output: str) -> str:
    """``output`` where it is missing or empty, else the first sub-folder ``run-N`` of it that is not there yet.

    A second demo thus shows the same as the first, instead of skipping what the first one saved.
    """
    if not os.path.lexists(output) or (os.path.isdir(output) and not os.listdir(output)):
        return output
    number = 2
    while os.path.lexists(folder := os.path.join(output, f"run-{number}")):
        number += 1
    return folder


def differences(files: Mapping[str, bytes]) -> list[str]:
    """Return what is not as promised about the saved files, given by name; nothing when all is well."""
    problems = []
    unexplained = dict(files)
    for exhibit in EXHIBITS:
        if exhibit.saved_as is None or exhibit.media is None:
            continue
        name = next((name for name in unexplained if re.fullmatch(exhibit.saved_as, name)), None)
        if name is None:
            problems.append(f"{exhibit.path}: not saved under a name like {exhibit.saved_as}")
        elif unexplained.pop(name) != media_bytes(exhibit.media):
            problems.append(f"{name}: not the bytes that were served for {exhibit.path}")
    return problems + [f"{name}: should not be there" for name in unexplained]


def read_folder(folder: str) -> dict[str, bytes]:
    """All files below a folder, by their path in it."""
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, folder)] = file.read()
    return dict(sorted(files.items()))


def run_gdl(arguments: list[str]) -> int:
    """Run gdl on this terminal and return its exit code. It is stopped when the demo is."""
    exempt = ",".join(filter(None, [os.environ.get("no_proxy"), "127.0.0.1"]))
    environment = {**os.environ, "no_proxy": exempt, "NO_PROXY": exempt}
    process = subprocess.Popen([sys.executable, "-m", "downloader", *arguments], env=environment)  # noqa: S603
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()  # Ctrl-C reaches gdl as well, which stops by itself
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def show(output: str) -> int:
    """Run the demonstration; return 0 if everything went as it promises, else 1."""
    with DemoServer() as server, tempfile.TemporaryDirectory(prefix="gdl-demo-") as folder:
        urls, listing = os.path.join(folder, "urls.txt"), server.urls_txt()
        with open(urls, "w", encoding="utf-8") as file:
            file.write(listing)
        say(f"A small web site runs on {server.url}\nfor as long as this demo. {urls} lists it:\n")
        say("".join(f"  | {line}".rstrip() + "\n" for line in listing.splitlines()))
        say(EXPECT)
        arguments = [urls, "-o", output]
        say(f"The command, with everything it prints:\n\n$ {shlex.join(['gdl', *arguments])}")
        code = run_gdl(arguments)
    if code < 0 or code > 1:
        say(f"\ngdl ended with exit code {code}: the demo was stopped, or gdl could not run.")
        return 128 - code if code < 0 else code
    files = read_folder(output)
    say(f"\nIn {output}:\n")
    for name, content in files.items():
        say(f"  {format_size(len(content)):>8}  {name}")
    problems = differences(files)
    if code != 1:
        problems.append(f"gdl ended with exit code {code}, not 1")
    if problems:
        say("\nNot as it should be:\n" + "".join(f"  - {problem}\n" for problem in problems))
        return 1
    say("\n" + GOOD)
    return 0


def say(text: str) -> None:
    """Print at once, so that it comes before what gdl prints next."""
    print(text, flush=True)  # noqa: T201


def _terminated(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


@click.command()
@click.argument("output", default=DEFAULT_OUTPUT)
def main(output: str) -> None:
    """Show gdl at work on a small web site that runs on this machine only.

    What it saves is put into the folder OUTPUT (default: demo-output), or in a sub-folder of it if it is in use.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Chinese is no reason to fail
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(show(fresh_folder(output)))


if __name__ == "__main__":
    main(prog_name="python -m downloader.demo")
