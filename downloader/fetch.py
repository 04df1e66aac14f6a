"""The response to a request for a range of a file whose other ranges are there or on their way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from downloader import errors, verdict
from downloader.bodies import IGNORED, Enough, Gatherer

if TYPE_CHECKING:
    from collections.abc import Callable

    from downloader.items import Running
    from downloader.options import Options
    from downloader.responses import Head
    from downloader.resume import Ask
    from downloader.segments import Piece


class Misfit(errors.BodyError):
    """The answer to the request for a range is of another range, another file or no range at all."""


class RangeFetch:
    """Receives the response to ``ask`` and hands what fits to ``write``: chunks, their size, and the response's end."""

    def __init__(
        self, ask: Ask, options: Options, running: Running, write: Callable[[list[bytes], int, int], None]
    ) -> None:
        self.answer: verdict.Continue | errors.ItemError | None = None
        """What the head means; None before it."""
        self.begun = 0.0
        """When the head came, in monotonic seconds."""
        self.gatherer = Gatherer(self._write_out)
        self._ask = ask
        self._options = options
        self._running = running
        self._write = write
        self._ignored = 0

    def begin(self, head: Head) -> bool:
        """Take the response's head."""
        self.begun = time.monotonic()
        answer = verdict.decide(head, self._options, now=time.time(), ask=self._ask)
        if isinstance(answer, errors.StatusError) and not answer.retryable:
            # The file was there when it was asked for: where it redirected to may have expired.
            self.answer = Misfit(f"{answer} to the request for a range of the same file")
        elif isinstance(answer, verdict.Continue | errors.ItemError):
            self.answer = answer
        elif isinstance(answer, verdict.Unfit):
            self.answer = Misfit(answer.reason)
        else:
            self.answer = Misfit(f"the server answered {head.status} when asked for a range of the same file")
        return isinstance(self.answer, verdict.Continue)

    def write(self, chunk: bytes) -> None:
        """Take body bytes."""
        if isinstance(self.answer, verdict.Continue):
            self._running.received += len(chunk)
            self.gatherer.take(chunk)
            return
        self._ignored += len(chunk)
        if self._ignored > IGNORED:
            raise Enough

    def _write_out(self, chunks: list[bytes], size: int) -> None:
        assert isinstance(self.answer, verdict.Continue)
        self._write(chunks, size, self.answer.end)

    def check(self, piece: Piece) -> None:
        """Raise what is wrong with a response that has ended and was written to ``piece``."""
        if self.answer is None:
            raise errors.ProtocolError("the server sent no answer")
        if isinstance(self.answer, errors.ItemError):
            raise self.answer
        if piece.end is not None and piece.at < min(piece.end, self.answer.end):
            raise errors.BodyError("the range was cut short")
