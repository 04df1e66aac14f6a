"""What a failure tells of its host."""

from __future__ import annotations

import pytest

from downloader import errors, outcomes
from downloader.outcomes import Outcome


def status(number: int) -> errors.StatusError:
    return errors.StatusError("x", status=number)


@pytest.mark.parametrize(
    ("error", "unheard", "heard"),
    [
        (status(429), Outcome.NOTHING, Outcome.REFUSED),
        (status(503), Outcome.NOTHING, Outcome.REFUSED),
        (status(404), Outcome.NOTHING, Outcome.ANSWERED),
        (status(500), Outcome.NOTHING, Outcome.ANSWERED),
        (status(502), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.ConnectError("x"), Outcome.UNREACHABLE, Outcome.REFUSED),
        (errors.TimedOut("x"), Outcome.SILENT, Outcome.STALLED),
        (errors.DeadlineExceeded("x"), Outcome.NOTHING, Outcome.NOTHING),
        (errors.BodyError("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.ProtocolError("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.TlsError("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.RedirectError("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.NotMedia("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.SizeError("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.ChecksumMismatch("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.HostDown("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.AddressRefused("x"), Outcome.NOTHING, Outcome.ANSWERED),
        (errors.FileLost("x"), Outcome.NOTHING, Outcome.NOTHING),
        (errors.NoRoom("x"), Outcome.NOTHING, Outcome.NOTHING),
        (errors.Interrupted("x"), Outcome.NOTHING, Outcome.NOTHING),
    ],
    ids=lambda value: f"{value.kind}-{getattr(value, 'status', '')}" if isinstance(value, errors.GdlError) else "",
)
def test_what_a_failure_tells_of_its_host(error: errors.ItemError, unheard: Outcome, heard: Outcome) -> None:
    assert outcomes.of(error, heard=False) is unheard
    assert outcomes.of(error, heard=True) is heard


def test_a_host_that_has_answered_before_and_breaks_a_connection_is_there() -> None:
    assert outcomes.of(errors.ConnectError("x"), heard=False, known=True) is Outcome.REFUSED
    assert outcomes.of(errors.NotConnected("x"), heard=False, known=True) is Outcome.UNREACHABLE
