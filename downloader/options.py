"""The settings of a run: one frozen value, checked when it is made, handed to whoever needs it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from downloader._version import __version__
from downloader.errors import UsageError
from downloader.grammar import TOKEN

Existing = Literal["skip", "overwrite", "rename"]
HttpVersion = Literal["auto", "1.0", "1.1", "2", "3"]
Algorithm = Literal["md5", "sha1", "sha256", "sha512"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

MEDIA = ("image/*", "video/*", "audio/*")
PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
JOBS = 128
MOST_JOBS = 10_000
"""More transfers at once than this no machine has descriptors for."""
USER_AGENT = f"gdl/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to download. Raises `UsageError` when a value makes no sense, naming its option."""

    output: str = "."
    """The folder files are saved in; made when the first file needs it."""
    jobs: int = JOBS
    """Most transfers in flight at once, over all hosts; fewer where the process may not open files enough."""
    per_host: int | None = None
    """Most transfers in flight to one host (scheme, name and port); None for as many as it can stand."""
    delay: float | None = None
    """Least seconds between the starts of two requests to one host."""
    requests_per_second: float | None = None
    """Most requests that are started to one host in a second; the same as ``delay``, the other way round."""
    split: int | Literal["auto"] = "auto"
    """Most transfers in flight for one file, each of another range; those beyond the first use free slots only.

    "auto" splits large files when the list has come to its end, as far as that makes them faster.
    """
    retries: int = 5
    """How many times an item is tried again after a failure that may pass."""
    timeout: float = 30.0
    """Seconds without a connection, an answer, or 100 body bytes for each of them, that end an attempt."""
    max_time: float | None = None
    """Seconds one item may take as a whole, tries and waits included."""
    limit_rate: int | None = None
    """Most bytes of bodies received per second, over all transfers; None for no bound."""
    existing: Existing = "skip"
    """What to do where the final name exists already."""
    name: str | None = None
    """Template for file names; None for the server's or the URL's name."""
    accept: tuple[str, ...] = MEDIA
    """Media types to save, each ``type/subtype`` with ``*`` for any."""
    min_size: int | None = None
    """Smallest file to save, in bytes."""
    max_size: int | None = None
    """Largest file to save, in bytes."""
    checksum_algorithm: Algorithm | None = None
    """Digest to compute of every file for its result; None for none but those that lists give to be checked."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Request headers for every item; hidden from ``repr`` because they may hold credentials."""
    user_agent: str = USER_AGENT
    referer: str | None = None
    cookies: str | None = None
    """Path of a cookie file in Netscape format."""
    netrc: bool = False
    """Take credentials from ``~/.netrc``."""
    proxy: str | None = field(default=None, repr=False)
    """Proxy URL (http, https, socks4, socks4a, socks5, socks5h); None for the environment's, "" for none."""
    insecure: bool = False
    """Accept any TLS certificate, and redirects from https to http."""
    cacert: str | None = None
    """PEM file with certificates to trust besides certifi's."""
    http_version: HttpVersion = "auto"
    public_only: bool = False
    """Connect to public addresses only, whatever a name resolves to; no proxy is used then."""
    fsync: bool = False
    """Have the disk write each file and its folder before the file counts as saved."""
    dry_run: bool = False
    """Ask, decide and name, but write nothing."""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_pace()
        self._check_request()
        _check_choice("--existing", self.existing, get_args(Existing))
        _check_choice("--http-version", self.http_version, get_args(HttpVersion))
        if self.checksum_algorithm is not None:
            _check_choice("--checksum-algorithm", self.checksum_algorithm, get_args(Algorithm))
        if self.public_only and self.proxy:
            raise UsageError("--public-only and --proxy exclude each other: a proxy looks names up by itself")
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise UsageError(f"--output: {self.output} is not a folder")
        if not self.accept:
            raise UsageError("--accept is empty; give types like image/*, or */* for anything")
        for pattern in self.accept:
            if pattern.count("/") != 1 or any(c in pattern for c in " ;,"):
                raise UsageError(f"--accept takes types like image/* or audio/flac, not {pattern!r}")
        for option, path in (("--cookies", self.cookies), ("--cacert", self.cacert)):
            if path is not None and not os.access(path, os.R_OK):
                raise UsageError(f"{option}: cannot read {path}")

    @property
    def pause(self) -> float:
        """Least seconds between the starts of two requests to one host, 0 for none."""
        return self.delay or (1 / self.requests_per_second if self.requests_per_second else 0.0)

    def _check_numbers(self) -> None:
        split = None if self.split == "auto" else self.split
        if isinstance(split, str):
            raise UsageError(f"--split takes a number or auto, not {split!r}")
        for option, value in (("--jobs", self.jobs), ("--per-host", self.per_host), ("--split", split)):
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, not {value}")
            if value is not None and value > MOST_JOBS:
                raise UsageError(f"{option} must be at most {MOST_JOBS:,}, not {value}")
        if self.retries < 0:
            raise UsageError(f"--retries must not be negative, not {self.retries}")
        for option, seconds in (("--timeout", self.timeout), ("--max-time", self.max_time)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise UsageError(f"{option} must be more than 0 seconds, not {seconds:g}")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise UsageError(f"--min-size {self.min_size} is larger than --max-size {self.max_size}")

    def _check_pace(self) -> None:
        if self.delay is not None and not 0 <= self.delay < float("inf"):
            raise UsageError(f"--delay must be a number of seconds, not {self.delay:g}")
        if self.requests_per_second is not None and not 0 < self.requests_per_second < float("inf"):
            raise UsageError(f"--requests-per-second must be more than 0, not {self.requests_per_second:g}")
        if self.delay is not None and self.requests_per_second is not None:
            raise UsageError("--delay and --requests-per-second say the same in two ways: give one of them")
        if self.limit_rate is not None and self.limit_rate < 1:
            raise UsageError(f"--limit-rate must be at least 1 byte per second, not {self.limit_rate}")

    def _check_request(self) -> None:
        for option, text in (("--user-agent", self.user_agent), ("--referer", self.referer or "")):
            if _CONTROL.search(text):
                raise UsageError(f"{option} holds a control character, which no header can carry")
        scheme = (self.proxy or "").partition("://")[0].lower() if "://" in (self.proxy or "") else "http"
        if scheme not in PROXIES:
            raise UsageError(f"--proxy takes {', '.join(PROXIES)} proxies, not {scheme}://")
        for name, value in self.headers:
            if not TOKEN.fullmatch(name):
                raise UsageError(f"--header: {name!r} is no name of a header (RFC 9110 section 5.1)")
            if _CONTROL.search(value):
                raise UsageError(f"--header: the value of {name} holds a control character")


def _check_choice(option: str, choice: str, valid: tuple[str, ...]) -> None:
    if choice not in valid:
        raise UsageError(f"{option} is one of {', '.join(valid)}, not {choice!r}")
