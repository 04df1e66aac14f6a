"""The errors of gdl, each with a machine-readable kind and whether another try may help.

::

    GdlError
    ├── UsageError          the command line or an option is wrong            (exit 2)
    ├── StopRun             nothing more can be written: the run ends         (exit 3)
    └── ItemError           one URL fails, the others go on                   (exit 1)
        ├── InputError      our side: a list line that cannot be used
        ├── NameRefused     our side: a name that leaves the output folder
        ├── NoRoom          our side: a file larger than what is free on the disk
        ├── FileLost        our side: somebody removed the part or its folder meanwhile
        ├── Interrupted     our side: the run was stopped before it finished
        ├── InternalError   our side: a bug, recorded instead of ending the run
        └── TransferError   their side
            ├── ConnectError        no connection, or one that broke
            │   └── NotConnected    no connection
            ├── HostDown            a host that was not there again and again
            ├── AddressRefused      an address that --public-only keeps out
            ├── TimedOut            silence for --timeout
            ├── DeadlineExceeded    --max-time is over
            ├── TlsError            the certificate or the handshake is not right
            ├── StatusError         an HTTP status other than 2xx
            ├── RedirectError       a redirect that must not be followed
            ├── BodyError           fewer or more bytes than promised, broken framing
            ├── ProtocolError       an answer that is not HTTP, or is over a bound
            ├── NotMedia            an HTML page where a picture should be
            ├── SizeError           outside --min-size and --max-size
            └── ChecksumMismatch    bytes other than the list promised

Errors of libcurl and of the operating system are translated once, where they are caught, with ``raise … from``.
All are picklable: they keep one positional argument and plain attributes.
"""

from __future__ import annotations

from typing import ClassVar


class GdlError(Exception):
    """Base of everything gdl raises on purpose; ``str(error)`` is a sentence for people."""

    kind: ClassVar[str] = "error"
    """A short, stable word for scripts, as ``--json`` prints it."""


class UsageError(GdlError):
    """An option or argument that cannot be used; the message names it and says what to do."""

    kind = "usage"


class StopRun(GdlError):
    """The output cannot be written to (disk full, read-only): no item can succeed any more."""

    kind = "disk"
    folder: str | None = None
    """The folder that must not be written to, where it is no more than that."""


class ItemError(GdlError):
    """One item failed. ``retryable`` says whether the same request may succeed later.

    ``retry_after`` is the number of seconds the server asked to be left alone, if it did.
    """

    kind = "item"
    retryable: bool = False
    retry_after: float | None = None


class InputError(ItemError):
    """A list line that is not a usable item. The message starts with its place: ``urls.txt:12: …``."""

    kind = "input"


class NameRefused(ItemError):
    """A name that would leave the output folder, or cannot be created there."""

    kind = "name"


class NoRoom(ItemError):
    """The file is larger than what is free where it would be written; smaller ones may still fit."""

    kind = "space"


class FileLost(ItemError):
    """The part or its folder was removed or replaced by somebody else while it was written."""

    kind = "lost"
    retryable = True


class Interrupted(ItemError):
    """The run was stopped before this item was done."""

    kind = "interrupted"


class InternalError(ItemError):
    """A bug in gdl, recorded on its item so that the others go on."""

    kind = "internal"


class TransferError(ItemError):
    """The server, or the way to it, is at fault."""

    kind = "transfer"


class ConnectError(TransferError):
    """No connection could be made (name, route, refusal), or it broke."""

    kind = "connection"
    retryable = True


class NotConnected(ConnectError):
    """No connection could be made: that is nothing that the request has to do with."""


class HostDown(TransferError):
    """The host could not be reached again and again: its items are given up, but for a probe now and then."""

    kind = "unreachable"


class AddressRefused(TransferError):
    """The host has only addresses that ``--public-only`` keeps out: private, loopback, link-local and the like."""

    kind = "address"


class TimedOut(TransferError):
    """Nothing was heard for ``--timeout`` seconds: connecting, waiting for an answer, or in the body."""

    kind = "timeout"
    retryable = True


class DeadlineExceeded(TransferError):
    """The item as a whole took longer than ``--max-time``."""

    kind = "max-time"


class TlsError(TransferError):
    """The certificate was refused or the handshake failed."""

    kind = "tls"


class StatusError(TransferError):
    """The server answered with an HTTP status other than success (RFC 9110 section 15)."""

    kind = "http"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RedirectError(TransferError):
    """A redirect that is refused: too many, to another scheme, or from https to http."""

    kind = "redirect"


class BodyError(TransferError):
    """The body is shorter or longer than promised, or its framing is broken (RFC 9112 section 8)."""

    kind = "body"
    retryable = True


class ProtocolError(TransferError):
    """The answer is not HTTP, or its header is larger than any honest one."""

    kind = "protocol"


class NotMedia(TransferError):
    """What came is not what ``--accept`` asks for; the message names what it was."""

    kind = "not-media"


class SizeError(TransferError):
    """The file is smaller than ``--min-size`` or larger than ``--max-size``."""

    kind = "size"


class ChecksumMismatch(TransferError):
    """The bytes are not those the list promised."""

    kind = "checksum"
