"""libcurl's error codes, translated once into gdl's errors.

The numbers are libcurl's stable ABI (``curl/curl.h``); they stand here as numbers so that only the transport
needs pycurl.
"""

from __future__ import annotations

import os
import re

from downloader import errors
from downloader.urls import redact

_CLASSES: dict[int, type[errors.TransferError]] = {
    1: errors.ProtocolError,  # UNSUPPORTED_PROTOCOL: also for HTTP/0.9, that is: for garbage
    5: errors.NotConnected,  # COULDNT_RESOLVE_PROXY
    6: errors.NotConnected,  # COULDNT_RESOLVE_HOST
    7: errors.NotConnected,  # COULDNT_CONNECT
    8: errors.ProtocolError,  # WEIRD_SERVER_REPLY
    16: errors.ConnectError,  # HTTP2
    18: errors.BodyError,  # PARTIAL_FILE
    28: errors.TimedOut,  # OPERATION_TIMEDOUT
    35: errors.TlsError,  # SSL_CONNECT_ERROR
    52: errors.ConnectError,  # GOT_NOTHING
    53: errors.TlsError,  # SSL_ENGINE_NOTFOUND
    55: errors.ConnectError,  # SEND_ERROR
    56: errors.ConnectError,  # RECV_ERROR
    58: errors.TlsError,  # SSL_CERTPROBLEM
    59: errors.TlsError,  # SSL_CIPHER
    60: errors.TlsError,  # PEER_FAILED_VERIFICATION
    61: errors.BodyError,  # BAD_CONTENT_ENCODING
    77: errors.TlsError,  # SSL_CACERT_BADFILE
    83: errors.TlsError,  # SSL_ISSUER_ERROR
    92: errors.ConnectError,  # HTTP2_STREAM
    95: errors.ConnectError,  # HTTP3
    96: errors.ConnectError,  # QUIC_CONNECT_ERROR
    97: errors.ConnectError,  # PROXY
    100: errors.ProtocolError,  # TOO_LARGE
}

_NOISE = re.compile(r" after \d+ ms(?=:|$)|: Could not connect to server")
_SILENCE = re.compile(r"Operation too slow\b.* last (\d+) seconds")
_TLS_HINT = "if you trust this server, add its certificate with --cacert FILE, or turn checks off with --insecure"


def _plain(message: str) -> str:
    """Take the noise out of libcurl's sentence, and what looks like credentials."""
    text = redact(_SILENCE.sub(r"no answer for \1 s", _NOISE.sub("", message.strip().rstrip("."))))
    return text[:1].lower() + text[1:] if text.partition(" ")[0].istitle() else text


def is_garbage(code: int, message: str) -> bool:
    """Tell whether an error of libcurl is that what came does not begin like HTTP."""
    return code in (1, 8) and ("status line" in message.lower() or "HTTP/0.9" in message)


def translate(code: int, message: str, os_errno: int = 0) -> errors.ItemError:
    """Return gdl's error for libcurl's ``code``, its ``message`` and the system's errno (0 for none)."""
    text = _plain(message) or f"libcurl error {code}"
    kind = _CLASSES.get(code, errors.TransferError)
    if code == 60:
        reason = re.sub(r"^SSL( certificate problem| certificate OpenSSL verify result)?: ", "", text)
        return errors.TlsError(f"TLS certificate check failed: {reason}; {_TLS_HINT}")
    if code in (35, 56):
        lowered = text.lower()
        if "chunk" in lowered or "hexadecimal" in lowered:
            kind, text = errors.BodyError, f"broken chunked encoding ({text})"
        elif "header" in lowered and ("large" in lowered or "long" in lowered or "many" in lowered):
            kind = errors.ProtocolError
        elif code == 35 and (os_errno or "syscall" in lowered or "reset" in lowered or "eof" in lowered):
            # The connection broke while the handshake was under way: no word about the certificate.
            kind = errors.ConnectError
    if code in (5, 97):
        text = f"proxy: {text}"
    if code == 18:
        text = f"the body was cut short ({text})"
    elif code == 52:
        text = "the server closed the connection without an answer"
    elif code == 100 and not message.strip():
        text = "the header is too large"
    if os_errno and issubclass(kind, errors.ConnectError):
        reason = os.strerror(os_errno)
        text = text if reason.lower() in text.lower() else f"{text} ({reason})"
    return kind(text)
