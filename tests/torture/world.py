"""The files of a round: what the server has, and so what gdl may end up with, as a function of the seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from support.sized import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Framing = Literal["length", "chunked", "close"]
Validators = Literal["both", "etag", "date", "weak", "weak and date", "young", "none"]
Style = Literal["plain", "named", "json", "fragment", "aria2", "server-named"]
Protocol = Literal["http", "https", "h2"]
"""What a file is served over: HTTP/1.1, the same over TLS, or HTTP/2 for clients that take it."""
Where = Literal["", "alias/", "rest/", "mirror/", "mirror-alias/", "mirror-rest/"]
"""Which of a file's paths was asked for; aliases and rests are only ever redirected to."""

HOSTS = tuple(f"{letter}.localhost" for letter in "abcdefgh")
"""Names of the one server (RFC 6761 section 6.3): a host that asks to be left alone does not hold up the others."""
ELSEWHERE = 1000
"""Added to a version's number: that of a mirror whose bytes are others."""
MOST_FAULTS = 16
DECOY = -1
"""The version of a file with a checksum that is not the file's: what a server sends that lies about all it can."""
STRAY = -2
"""The version of what is sent as an answer that nobody asked for."""
STRAY_BYTES = 3000
_KIB, _MIB = 1 << 10, 1 << 20
_SUMMED: tuple[Style, ...] = ("json", "fragment", "aria2")
_UNSUMMED: tuple[Style, ...] = ("plain", "json", "named", "server-named")
_LISTED: tuple[Where, Where] = ("", "mirror/")
_EPOCH = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the server and its line in the list."""

    index: int
    kind: str
    name: str
    """Its final name; may hold a ``/``."""
    sizes: tuple[int, ...]
    """Bytes of each of its versions."""
    framing: Framing
    """How an honest 200 tells where its body ends."""
    validators: Validators
    ranges: bool
    announced: bool
    """Whether responses say ``Accept-Ranges: bytes``."""
    summed: bool
    """Whether the list has its checksum; it then has one version."""
    mirrored: bool
    style: Style
    protocol: Protocol
    faults: int
    """How many requests for it may go wrong, fewer than `MOST_FAULTS`; after them it is served honestly and stays."""

    @property
    def large(self) -> bool:
        """Whether it is worth to be resumed or split."""
        return max(self.sizes) >= _MIB

    @property
    def ends(self) -> bool:
        """Whether its bytes show that they were cut: by its format's own end, or by the list's checksum."""
        return self.summed or KINDS[self.kind].ends

    @property
    def elsewhere(self) -> bool:
        """Whether its mirror has other bytes under the same validators, which is right for another resource."""
        return self.mirrored and not self.summed

    @property
    def leaf(self) -> str:
        """The last part of its paths."""
        return f"{self.index}" if self.style == "server-named" else self.name.rpartition("/")[2]

    def path(self, where: Where = "") -> str:
        """The path of its URL."""
        return f"/{where}{self.leaf}"


@dataclass(frozen=True, slots=True)
class View:
    """A file as one request sees it."""

    content: bytes
    etag: str | None
    modified: str | None
    date: str
    """The Date field; usually now."""


@lru_cache(maxsize=48)
def content(seed: int, index: int, version: int, kind: str, size: int) -> bytes:
    """The bytes of one version, true to its format, and different from all others wherever that lets them."""
    return KINDS[kind].make(hashlib.shake_256(f"{seed}/{index}/{version}".encode()).digest(size))


class World:
    """All files of a round: ``count``, or in every third world a quarter of that, most of them large."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        large = 0.45
        if Random(f"{seed}/world").random() < 1 / 3:  # noqa: S311
            count, large = max(1, count // 4), 0.9  # so few that transfers are free to split them
        self.files = [_draw(Random(f"{seed}/file/{index}"), index, large) for index in range(count)]  # noqa: S311
        self.by_name = {file.name: file for file in self.files}
        places = get_args(Where)
        self._by_path: dict[str, tuple[File, Where]] = {
            file.path(where): (file, where) for file in self.files for where in places
        }

    def find(self, path: str) -> tuple[File, Where] | None:
        """The file a request asks for, and which of its paths it used."""
        return self._by_path.get(path)

    def versions(self, file: File) -> list[int]:
        """All versions that are right."""
        own = list(range(len(file.sizes)))
        return own + [ELSEWHERE + version for version in own] if file.elsewhere else own

    def content(self, file: File, version: int) -> bytes:
        """The bytes of a version."""
        size = file.sizes[version % ELSEWHERE % len(file.sizes)]
        return content(self.seed, file.index, version, file.kind, size)

    def stray(self, file: File) -> bytes:
        """Another file than ``file``, of the same kind; nobody asks for it."""
        return content(self.seed, file.index, STRAY, file.kind, STRAY_BYTES)

    def identify(self, file: File, data: bytes) -> int | None:
        """The version these bytes are, None where they are none as a whole."""
        return next((version for version in self.versions(file) if self.content(file, version) == data), None)

    def checksum(self, file: File) -> str:
        """The sha256 the list promises."""
        return hashlib.sha256(self.content(file, 0)).hexdigest()

    def view(self, file: File, version: int, where: Where = "") -> View:
        """A version with its validators, as the path ``where`` shows it.

        A validator that is none, because it is weak or young, is the same for all versions: who takes it for one
        mixes them. A mirror of other bytes uses the same tags for them: tags tell versions of one resource apart, not
        resources (RFC 9110 section 8.8.3).
        """
        mirror = where.startswith("mirror")
        number = max(0, version)
        shown = version + ELSEWHERE if mirror and file.elsewhere else version
        tag = f'"m{file.index}-{number}"' if mirror and file.summed else f'"{file.index}-{number}"'
        etag = {"both": tag, "etag": tag}.get(file.validators)
        if file.validators in ("weak", "weak and date"):
            etag = f'W/"{file.index}"'
        changed = _EPOCH + timedelta(hours=file.index, days=number)
        modified = http_date(changed) if file.validators in ("both", "date", "weak and date") else None
        date = http_date(datetime.now(UTC))
        if file.validators == "young":
            modified, date = http_date(_EPOCH), http_date(_EPOCH + timedelta(seconds=9))
        return View(self.content(file, shown), etag, modified, date)

    def listed(self, ports: Mapping[Protocol, int]) -> tuple[bytes, dict[int, File]]:
        """The list, and which file each line that is an item asks for; ``ports`` has the server's for each protocol."""
        order = list(self.files)
        Random(f"{self.seed}/order").shuffle(order)  # noqa: S311
        lines: list[str] = []
        places: dict[int, File] = {}
        for file in order:
            places[len(lines) + 1] = file
            lines += self._entry(file, ports)
        return "".join(f"{line}\n" for line in lines).encode(), places

    def _entry(self, file: File, ports: Mapping[Protocol, int]) -> Iterator[str]:
        hosts = (HOSTS[(file.index + step) % len(HOSTS)] for step in (0, 3))
        scheme, port = "http" if file.protocol == "http" else "https", ports[file.protocol]
        url, mirror = (
            f"{scheme}://{host}:{port}{file.path(where)}" for host, where in zip(hosts, _LISTED, strict=True)
        )
        digest = self.checksum(file) if file.summed else None
        if file.style == "json":
            found: dict[str, object] = {"url": [url, mirror] if file.mirrored else url, "name": file.name}
            yield json.dumps({**found, "checksum": f"sha256:{digest}"} if digest else found)
            return
        if file.style == "fragment" and digest:
            url += f"#sha256={digest}"
        if file.mirrored:
            yield f"{url}\t{mirror}"
        else:
            yield f"{url} {file.name}" if file.style == "named" else url
        if file.style == "aria2" and digest:
            yield f"  checksum=sha-256={digest}"


def http_date(moment: datetime) -> str:
    """An HTTP date (RFC 9110 section 5.6.7)."""
    return format_datetime(moment, usegmt=True)


def _draw(rng: Random, index: int, large: float) -> File:
    kind = rng.choice(sorted(KINDS))
    size = rng.randrange(2 * _KIB, 60 * _KIB) if rng.random() < 0.8 else rng.randrange(200 * _KIB, _MIB)
    if rng.random() < large:
        size = int(rng.triangular(1.2 * _MIB, 6 * _MIB, 5 * _MIB))
    summed, mirrored = rng.random() < 0.3, rng.random() < 0.2
    count = 1 if summed else rng.choice((1, 2, 3, 4))
    grows = rng.random() < 0.4
    sizes = tuple(size + (rng.randrange(-size // 4, size // 4) if version and grows else 0) for version in range(count))
    [style] = rng.choices(_SUMMED if summed else _UNSUMMED, (30, 40, 30) if summed else (55, 20, 20, 5))
    if mirrored and style == "named":
        style = "json"
    [framing] = rng.choices(get_args(Framing), (86, 8, 6))
    [validators] = rng.choices(get_args(Validators), (36, 20, 14, 6, 8, 6, 10))
    folder = rng.choice(("", "", "sub/", "sub/more/")) if style in ("json", "named") else ""
    [protocol] = rng.choices(get_args(Protocol), (60, 15, 25))
    ranges = framing == "length" and rng.random() < 0.95
    return File(
        index=index,
        kind=kind,
        name=f"{folder}file-{index:04}.{kind}",
        sizes=sizes,
        framing=framing,
        validators=validators,
        ranges=ranges,
        announced=ranges and rng.random() < 0.9,
        summed=summed,
        mirrored=mirrored,
        style=style,
        protocol=protocol,
        faults=rng.randrange(4, 15) if size >= _MIB else rng.randrange(1, 5),
    )
