"""gdl: a concurrent media downloader. The command is ``gdl``; the library is `download`.

>>> from downloader import download
>>> for result in download(["https://example.org/cat.jpg"], output="pics"):  # doctest: +SKIP
...     print(result.status, result.path)

Importing this package patches nothing and starts nothing.
"""

from __future__ import annotations

from downloader._version import __version__

__all__ = ["__version__"]
