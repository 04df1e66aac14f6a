"""libcurl's codes become gdl's errors: of the right class, with a sentence, and never with a password."""

from __future__ import annotations

import errno

import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader import errors
from downloader.transport.translation import translate


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (pycurl.E_UNSUPPORTED_PROTOCOL, "Received HTTP/0.9 when not allowed", errors.ProtocolError),
        (8, "Header without colon", errors.ProtocolError),
        (pycurl.E_COULDNT_RESOLVE_PROXY, "Could not resolve proxy: p", errors.NotConnected),
        (pycurl.E_COULDNT_RESOLVE_HOST, "Could not resolve host: h", errors.NotConnected),
        (pycurl.E_COULDNT_CONNECT, "Failed to connect to h port 80", errors.NotConnected),
        (pycurl.E_GOT_NOTHING, "Empty reply from server", errors.ConnectError),
        (pycurl.E_SEND_ERROR, "Send failure: Broken pipe", errors.ConnectError),
        (pycurl.E_RECV_ERROR, "Recv failure: Connection reset by peer", errors.ConnectError),
        (pycurl.E_HTTP2, "Error in the HTTP2 framing layer", errors.ConnectError),
        (92, "HTTP/2 stream 5 was not closed cleanly", errors.ConnectError),
        (97, "CONNECT tunnel failed, response 403", errors.ConnectError),
        (pycurl.E_PARTIAL_FILE, "transfer closed with 5 bytes remaining to read", errors.BodyError),
        (pycurl.E_BAD_CONTENT_ENCODING, "Error while processing content unencoding", errors.BodyError),
        (pycurl.E_OPERATION_TIMEDOUT, "Operation too slow", errors.TimedOut),
        (pycurl.E_PEER_FAILED_VERIFICATION, "SSL certificate problem: certificate has expired", errors.TlsError),
        (pycurl.E_SSL_CONNECT_ERROR, "TLS connect error: wrong version number", errors.TlsError),
        (pycurl.E_SSL_CACERT_BADFILE, "error setting certificate file", errors.TlsError),
        (pycurl.E_RECV_ERROR, "Malformed encoding found in chunked-encoding", errors.BodyError),
        (pycurl.E_RECV_ERROR, "Illegal or missing hexadecimal sequence", errors.BodyError),
        (pycurl.E_RECV_ERROR, "Too large response headers: 307202 > 307200", errors.ProtocolError),
        (100, "A value or data field grew larger than allowed", errors.ProtocolError),
        (pycurl.E_WRITE_ERROR, "Failed writing received data", errors.TransferError),
        (9999, "", errors.TransferError),
    ],
)
def test_a_code_becomes_the_error_of_its_class(code: int, message: str, kind: type[errors.ItemError]) -> None:
    error = translate(code, message)
    assert type(error) is kind
    assert str(error)


@pytest.mark.parametrize(
    ("message", "os_errno", "kind"),
    [
        ("OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to h:443", 0, errors.ConnectError),
        ("TLS connect error: unexpected eof while reading", 0, errors.ConnectError),
        ("Recv failure: Connection reset by peer", 0, errors.ConnectError),
        ("TLS connect error", errno.ECONNRESET, errors.ConnectError),
        ("TLS connect error: tlsv1 alert protocol version", 0, errors.TlsError),
    ],
)
def test_a_handshake_cut_off_is_no_word_about_the_certificate(
    message: str, os_errno: int, kind: type[errors.ItemError]
) -> None:
    error = translate(pycurl.E_SSL_CONNECT_ERROR, message, os_errno)
    assert type(error) is kind
    assert error.retryable is (kind is errors.ConnectError)


def test_a_refused_certificate_says_what_to_do() -> None:
    error = translate(pycurl.E_PEER_FAILED_VERIFICATION, "SSL certificate problem: certificate has expired")
    assert "certificate has expired" in str(error)
    assert "SSL certificate problem" not in str(error)
    assert "--cacert" in str(error)
    assert "--insecure" in str(error)


def test_the_systems_reason_is_told_once() -> None:
    reason = "Connection refused"
    assert reason in str(translate(pycurl.E_COULDNT_CONNECT, "Failed to connect", errno.ECONNREFUSED))
    message = str(translate(pycurl.E_COULDNT_CONNECT, "connect failed: connection refused", errno.ECONNREFUSED))
    assert message.lower().count(reason.lower()) == 1


@given(
    code=st.integers(0, 110),
    message=st.text(max_size=60),
    os_errno=st.sampled_from([0, errno.ECONNRESET, errno.ETIMEDOUT, 9999]),
)
def test_every_code_and_message_is_an_error_with_a_sentence(code: int, message: str, os_errno: int) -> None:
    error = translate(code, message, os_errno)
    assert isinstance(error, errors.TransferError)
    assert str(error).strip()


@pytest.mark.parametrize("code", [1, 6, 7, 18, 28, 35, 56, 60, 97])
def test_no_message_shows_credentials(code: int) -> None:
    error = translate(code, "Could not connect to http://me:s3cret@h.example:80/a")
    assert "s3cret" not in str(error)


def test_silence_is_told_in_plain_words() -> None:
    message = "Operation too slow. Less than 1 bytes/sec transferred the last 30 seconds"
    assert str(translate(pycurl.E_OPERATION_TIMEDOUT, message)) == "no answer for 30 s"
