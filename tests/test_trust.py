"""The trusted certificates: certifi's alone, or with the user's besides, in one file that goes away again."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import TYPE_CHECKING

import certifi
import pytest

from downloader import trust
from downloader.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from support.certs import Authority


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_certificate_of_ones_own_is_trusted_besides_certifis(ca: Authority, temporary_folder: Path) -> None:
    with trust.bundle(str(ca.file)) as path:
        assert path is not None
        assert os.path.dirname(path) == str(temporary_folder)
        usual, both = ssl.create_default_context(cafile=certifi.where()), ssl.create_default_context(cafile=path)
        assert both.cert_store_stats()["x509_ca"] == usual.cert_store_stats()["x509_ca"] + 1
    assert list(temporary_folder.iterdir()) == []


def test_the_file_goes_away_when_the_run_fails(ca: Authority, temporary_folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), trust.bundle(str(ca.file)):
        raise ZeroDivisionError
    assert list(temporary_folder.iterdir()) == []


def test_somebody_may_clean_the_temporary_folder_meanwhile(ca: Authority) -> None:
    with trust.bundle(str(ca.file)) as path:
        assert path is not None
        os.unlink(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "der"])
def test_what_is_no_certificate_is_a_usage_error(tmp_path: Path, temporary_folder: Path, kind: str) -> None:
    file = tmp_path / "ca.pem"
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        file.write_bytes(b"" if kind == "empty" else b"\x30\x82\x01")
    with pytest.raises(UsageError, match=r"--cacert.*ca\.pem"), trust.bundle(str(file)):
        pass
    assert list(temporary_folder.iterdir()) == []
