"""gdl: a concurrent media downloader. The command is ``gdl``; the library is `download`.

::

    from downloader import download

    for result in download(["https://example.org/cat.jpg"], output="pics"):
        print(result.status, result.path or result.reason)

Importing this package patches nothing and starts nothing.
"""

from __future__ import annotations

from downloader._version import __version__
from downloader.api import download
from downloader.errors import GdlError, ItemError, StopRun, TransferError, UsageError
from downloader.items import Address, BadItem, Checksum, Item, Result
from downloader.options import Options

__all__ = [
    "Address",
    "BadItem",
    "Checksum",
    "GdlError",
    "Item",
    "ItemError",
    "Options",
    "Result",
    "StopRun",
    "TransferError",
    "UsageError",
    "__version__",
    "download",
]
