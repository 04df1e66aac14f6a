"""The command line: flags become `Options` and `Display`, nothing else happens here."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from downloader import sources as lists
from downloader._version import __version__
from downloader.errors import InputError, UsageError
from downloader.grammar import BLANKS
from downloader.options import JOBS, MEDIA, USER_AGENT, Options
from downloader.urls import parse

if TYPE_CHECKING:
    from collections.abc import Callable

INTRODUCTION = """\
Download pictures, videos and audio, many at once, from lists of URLs.

A SOURCE is a list file, - for standard input, or an http(s) URL. Without one, the list is read from
standard input. Lists hold one URL a line, with a file name behind it if you want another than the
server's, or one JSON object a line; aria2's input files work too.

A file appears under its final name only when it is whole and checked. What exists is not downloaded
again, so the same command can run every night. What is not a picture, a video or audio, such as an
error page, is refused.

\b
  gdl urls.txt -o ~/Desktop
  cat urls.txt | gdl -o pics
  gdl https://example.org/a.jpg
  0 3 * * *  gdl -q ~/urls.txt -o /srv/media
"""

EPILOGUE = """\
Exit codes: 0 every file saved or skipped; 1 at least one failed; 2 the command line is wrong; 3 the
run was stopped, for example by a full disk; 129 the terminal was closed; 130 Ctrl-C; 143 SIGTERM. The
first Ctrl-C stops cleanly and prints the summary, a second one stops at once.

Environment: http_proxy, https_proxy, all_proxy and no_proxy as in curl; NO_COLOR for no colours;
TMPDIR for the temporary notes of very long lists.
"""


class _Group(click.Option):
    """An option that knows under which heading of ``--help`` it stands."""

    def __init__(self, *args: Any, topic: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.topic = topic


class _Command(click.Command):
    """Prints the options under their topics."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        topics: dict[str, list[tuple[str, str]]] = {}
        # Options of click's own, such as --help, have no topic and come last.
        for parameter in sorted(self.get_params(ctx), key=lambda parameter: not hasattr(parameter, "topic")):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                topics.setdefault(getattr(parameter, "topic", "Other"), []).append(record)
        for topic, records in topics.items():
            with formatter.section(topic):
                formatter.write_dl(records, col_max=26)


class _Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes: 500k, 20M, 1.5G (powers of 1000), 4Ki, 2Mi (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([kmgt]?)(i?)b?", str(value).strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size; write it like 500k, 20M or 1.5G", param, ctx)
        number, unit, binary = match.groups()
        return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


class _Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, or a number with s, m or h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([smh]?)", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a time; write it like 30, 2.5, 10m or 2h", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class _Split(click.ParamType):  # type: ignore[type-arg]
    """A number, or auto."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if str(value).strip().lower() == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


def _utf8(argument: str) -> str:
    """Return an argument as UTF-8, as names are on the disk, where its bytes are that; else as the locale has it."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


class _Header(click.ParamType):  # type: ignore[type-arg]
    """A request header: ``Name: value``."""

    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, colon, content = _utf8(str(value)).partition(":")
        if not colon:
            self.fail("a header is written 'Name: value'", param, ctx)
        return name, content.strip(BLANKS)


def _option(topic: str) -> Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]:
    def decorate(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return click.option(*names, cls=_Group, topic=topic, **attributes)

    return decorate


_files = _option("Files")
_speed = _option("Speed and patience")
_choice = _option("What is taken")
_asking = _option("Requests")
_safety = _option("Connections and TLS")
_telling = _option("What is shown")


@click.command(
    cls=_Command, help=INTRODUCTION, epilog=EPILOGUE, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@_files("-o", "--output", metavar="FOLDER", default=".", help="Save in FOLDER, made if needed. Default: here.")
@_files(
    "--existing",
    type=click.Choice(["skip", "overwrite", "rename"]),
    default="skip",
    help="Where the name exists: skip it without asking the server (default), overwrite it once the new file is "
    "whole, or rename the new one to 'name (1)'.",
)
@_files(
    "--name",
    metavar="TEMPLATE",
    type=_utf8,
    help="Name files by {name} {stem} {ext} {host} {path} {index} {hash}, for example '{index:06d}{ext}' or "
    "'{host}/{path}'. A name in the list wins.",
)
@_files(
    "--checksum-algorithm",
    type=click.Choice(["md5", "sha1", "sha256", "sha512"]),
    help="Compute this digest of every file, for --json.",
)
@_files("--fsync", is_flag=True, help="Have the disk write each file before it counts as saved: safe from power cuts.")
@_files("--dry-run", is_flag=True, help="Only tell what would be saved and as what name.")
@_speed(
    "-j",
    "--jobs",
    metavar="N",
    type=int,
    default=JOBS,
    show_default=True,
    help="Transfers at once over all hosts, at most.",
)
@_speed("--per-host", metavar="N", type=int, help="Transfers at once to one host, at most. Default: found by trying.")
@_speed("--delay", metavar="TIME", type=_Duration(), help="Least time between two requests to one host.")
@_speed("--requests-per-second", metavar="N", type=float, help="Most requests to one host in a second.")
@_speed(
    "--split",
    metavar="N",
    type=_Split(),
    default="auto",
    help="Transfers at once for one file, within -j and --per-host, where the server can send ranges. Default: auto, "
    "as many as make the last large files of the list faster. 1 for never.",
)
@_speed("--retries", metavar="N", type=int, default=5, show_default=True, help="Tries after a failure that may pass.")
@_speed(
    "--timeout",
    metavar="TIME",
    type=_Duration(),
    default=30.0,
    help="Give an attempt up after TIME without a connection or bytes worth it: seconds, or like 2m. Default: 30.",
)
@_speed("--max-time", metavar="TIME", type=_Duration(), help="Give a URL up after TIME in all, tries included.")
@_speed(
    "--limit-rate", metavar="RATE", type=_Size(), help="Receive RATE bytes a second in all at most, such as 500k or 5M."
)
@_choice(
    "--accept",
    metavar="TYPES",
    default=",".join(MEDIA),
    show_default=True,
    help="Media types to save, judged by the bytes and by what the server says. '*/*' takes anything.",
)
@_choice("--min-size", metavar="SIZE", type=_Size(), help="Refuse smaller files: bytes, or like 10k, 1.5M.")
@_choice("--max-size", metavar="SIZE", type=_Size(), help="Refuse larger files.")
@_asking("-H", "--header", "headers", metavar="HEADER", type=_Header(), multiple=True, help="Send 'Name: value' too.")
@_asking("-A", "--user-agent", metavar="TEXT", type=_utf8, default=USER_AGENT, show_default=True, help="Say who asks.")
@_asking("--referer", metavar="URL", type=_utf8, help="Say where the link was found.")
@_asking("--cookies", metavar="FILE", help="Send the cookies of a file in Netscape format, each to its own host.")
@_asking("--netrc", is_flag=True, help="Take names and passwords from ~/.netrc.")
@_asking(
    "--proxy",
    metavar="URL",
    help="Go through a proxy: http://, https://, socks4://, socks5:// or socks5h://[USER:PASSWORD@]HOST:PORT. "
    "'' for none. Default: from the environment.",
)
@_asking(
    "--http-version",
    type=click.Choice(["auto", "1.0", "1.1", "2", "3"]),
    default="auto",
    help="HTTP version to ask for. Default: auto, the newest that TLS negotiates.",
)
@_safety("-k", "--insecure", is_flag=True, help="Accept any certificate, and redirects from https to http.")
@_safety("--cacert", metavar="FILE", help="Trust the certificates in a PEM file besides the usual ones.")
@_safety("--public-only", is_flag=True, help="Connect to public addresses only, and through no proxy.")
@_telling("-q", "--quiet", is_flag=True, help="Print failures only.")
@_telling("-v", "--verbose", is_flag=True, help="Print every file, every retry, each host's limit, and why.")
@_telling(
    "--progress",
    type=click.Choice(["auto", "bars", "lines", "none"]),
    default="auto",
    help="Bars or plain lines. Default: auto, bars on a terminal.",
)
@_telling("--json", "as_json", is_flag=True, help="Print one JSON object per result on standard output.")
@_telling("--failed", metavar="FILE", help="Write the input lines of what failed to FILE, ready to be given to gdl.")
@_telling("--log-file", metavar="FILE", help="Append what happens to FILE.")
@click.version_option(__version__, "--version", message="gdl %(version)s", help="Print the version.")
def _parse(sources: tuple[str, ...], **flags: Any) -> tuple[tuple[str, ...], Options, dict[str, Any]]:
    if not sources:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("give a list file, a URL, or - for standard input")
        sources = (lists.STDIN,)
    display = {name: flags.pop(name) for name in ("quiet", "verbose", "progress", "as_json", "failed", "log_file")}
    if display["quiet"] and display["verbose"]:
        raise UsageError("--quiet and --verbose exclude each other")
    flags["accept"] = tuple(pattern.strip().lower() for pattern in flags["accept"].split(",") if pattern.strip())
    if flags["referer"]:
        with suppress(InputError):  # what is no URL is sent as it is; credentials in one are nobody's business
            flags["referer"] = parse(flags["referer"]).url
    options = Options(**flags)
    sources = tuple(_utf8(source) if lists.is_url(source) else source for source in sources)
    lists.check(sources)
    return sources, options, display


def run(arguments: list[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: the process's own) and return its exit code."""
    from downloader.console import Display, ExitCode, download_all

    try:
        parsed = _parse.main(arguments, prog_name="gdl", standalone_mode=False)
        if not isinstance(parsed, tuple):  # --help and --version have said all
            return ExitCode.OK
        sources, options, display = parsed
        return download_all(sources, options, Display(**display))
    except (click.UsageError, UsageError) as error:
        text = error.format_message() if isinstance(error, click.UsageError) else str(error)
        print(f"gdl: {text}\nTry 'gdl --help'.", file=sys.stderr)  # noqa: T201
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.SIGINT
