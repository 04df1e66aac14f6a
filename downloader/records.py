"""What a run leaves for programs and for later: JSON Lines, the list of what failed, the log file.

``--json`` and ``--log-file`` never hold credentials; ``--failed`` holds the input as it came, so only its owner may
read it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from downloader.errors import StopRun, UsageError
from downloader.items import Listener
from downloader.outlet import Outlet
from downloader.report import failure
from downloader.streams import open_file
from downloader.text import escaped, file_name, format_duration, format_size, has_control

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from downloader.errors import ItemError
    from downloader.items import Item, Result

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)
_ASCII_ENCODER = json.JSONEncoder(allow_nan=False, default=str)


def as_mapping(result: Result) -> dict[str, object]:
    """Return the fields ``--json`` prints, in their order; ``elapsed`` is in seconds to the millisecond."""
    error = result.error
    return {
        "url": result.url,
        "final_url": result.final_url,
        "status": result.status,
        "reason": result.reason,
        "path": result.path,
        "bytes": result.bytes,
        "sha256": result.sha256,
        "checksum": result.checksum,
        "content_type": result.content_type,
        "http_status": result.http_status,
        "attempts": result.attempts,
        "elapsed": round(result.elapsed, 3),
        "error": None if error is None else {"kind": error.kind, "message": str(error)},
        "source": result.source,
        "line": result.line,
        "extra": None if result.extra is None else dict(result.extra),
    }


def as_json(result: Result) -> bytes:
    r"""Return a result as one line of JSON in UTF-8 (RFC 8259), newline included.

    A byte of a path that is no UTF-8 comes out as an escaped lone surrogate, from which ``os.fsencode`` restores
    it. Where anything could drive a terminal, all that is not ASCII is escaped too.
    """
    mapping = as_mapping(result)
    try:
        text = _ENCODER.encode(mapping)
    except (ValueError, TypeError):  # NaN is no JSON, though Python reads it from a list; or keys that are no text
        mapping["extra"] = _plain(mapping["extra"])
        text = _ENCODER.encode(mapping)
    if has_control(text):
        text = _ASCII_ENCODER.encode(mapping)
    return text.encode() + b"\n"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Json(Listener):
    """``--json``: each result as a line of UTF-8, handed to ``write`` as it finishes."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def finished(self, result: Result) -> None:
        """Write the result."""
        self._write(as_json(result))


class FailedList(Listener):
    """``--failed``: the input of what failed, in a form that can be fed back in.

    It is written to a file beside its path and takes its place in `close`, so the list may be one of the run's
    ``sources`` and survives a kill. Raises `UsageError` where it cannot be written.
    """

    def __init__(self, path: str, *, sources: Sequence[str] = ()) -> None:
        self._path = path
        self._shown = file_name(path)
        self._is_source = any(_is_same(source, path) for source in sources)
        self._temporary: str | None = None
        self._error: OSError | None = None
        try:
            self.outlet = Outlet(self._open(), self._fail)
        except OSError as error:
            raise UsageError(f"--failed: cannot write {self._shown}: {error.strerror}") from error
        self._closed = False

    def _open(self) -> int:
        try:
            mode = os.stat(self._path or ".").st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        if not stat.S_ISREG(mode):  # a pipe or a device takes what comes; a folder is refused here
            return open_file(self._path, os.O_WRONLY)
        if os.path.islink(self._path):  # the system knows whose links it follows, such as nobody else's in /tmp
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        import tempfile  # takes 3 ms that a run without this list need not

        self._path = os.path.realpath(self._path)
        # Only its owner may read it: mode 0600.
        descriptor, self._temporary = tempfile.mkstemp(prefix=".gdl-failed.", dir=os.path.dirname(self._path))
        return descriptor

    def _fail(self, error: OSError) -> None:
        self._error = self._error or error

    def finished(self, result: Result) -> None:
        """Write the item's input, if it failed."""
        if result.status != "failed":
            return
        text = result.text or (result.url or "").encode()
        if text:
            self.outlet.write(text + b"\n")

    def close(self, *, exhausted: bool = True) -> bool:
        """Put the list in its place and tell whether it was; may be called again.

        With ``exhausted`` false, for a run that did not read its sources to their end, a list that is a source of
        the run stays as it was: it still holds the lines that were not read. Leaving the context without a call
        counts as such a run. Raises `StopRun` if writing failed.
        """
        if self._closed:
            return False
        self._closed = True
        self.outlet.close()
        keep = self._error is not None or (self._is_source and not exhausted)
        try:
            if self._temporary is not None:
                if keep:
                    os.unlink(self._temporary)
                else:
                    os.replace(self._temporary, self._path)
        except OSError as error:
            self._error = error
        if self._error is not None:
            raise StopRun(f"--failed: cannot write {self._shown}: {self._error.strerror}") from self._error
        return not keep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(exhausted=False)


class LogFile(Listener):
    """``--log-file``: every event as a line with its local time and level, appended.

    A line is ``2026-01-31T12:00:00.123+01:00 ERROR failed …``. Raises `UsageError` where the file cannot be
    opened, or is one of the run's ``sources``, which would have no end then. A log that cannot be written any more
    ends; ``close`` then raises `StopRun`.
    """

    def __init__(self, path: str, *, sources: Sequence[str] = ()) -> None:
        self._shown = file_name(path)
        self._error: OSError | None = None
        if any(_is_same(source, path) and os.path.isfile(path) for source in sources):
            raise UsageError(f"--log-file: {self._shown} is a list that is to be read")
        try:
            self.outlet = Outlet(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), self._fail)
        except OSError as error:
            raise UsageError(f"--log-file: cannot write {self._shown}: {error.strerror}") from error

    def _fail(self, error: OSError) -> None:
        self._error = self._error or error

    def finished(self, result: Result) -> None:
        """Log the result."""
        if result.status == "failed":
            kind = result.error.kind if result.error else "unknown"
            self._log("ERROR", f"failed [{kind}] {failure(result)}")
        elif result.status == "saved":
            took = f"{format_size(result.bytes)} in {format_duration(result.elapsed)}"
            self._log("INFO", f"saved {result.path} {took} from {result.url}")
        else:
            self._log("INFO", f"skipped [{result.reason}] {result.url} {result.path or ''}".rstrip(" "))

    def retrying(self, item: Item, error: ItemError, delay: float, attempt: int) -> None:
        """Log the failed attempt."""
        when = f"again in {format_duration(delay)}"
        self._log("WARNING", f"attempt {attempt} failed [{error.kind}] {item.url}: {error}; {when}")

    def noted(self, message: str) -> None:
        """Log the message."""
        self._log("INFO", message)

    def warned(self, message: str) -> None:
        """Log the message."""
        self._log("WARNING", message)

    def close(self) -> None:
        """Close the file; may be called again. Raises `StopRun` if writing failed."""
        self.outlet.close()
        error, self._error = self._error, None
        if error is not None:
            raise StopRun(f"--log-file: cannot write {self._shown}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _log(self, level: str, message: str) -> None:
        now = datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")
        self.outlet.write(f"{now} {level} {escaped(message)}\n".encode())


def _is_same(source: str, path: str) -> bool:
    try:
        read = os.fstat(0) if source == "-" else os.stat(source)
        return os.path.samestat(read, os.stat(path))
    except OSError:
        return False
