"""HTTP/2 for `support.faultserver`: the same scripts, their HTTP/1.1 told in frames.

What a script sends is read as HTTP/1.1 and goes out as HEADERS and DATA. A body whose framing says that it is complete
ends its stream, and so does an orderly close where the close is the framing. A close anywhere else resets the stream
with NO_ERROR, as some proxies do in the middle of a body; `Stream.reset` resets it with another code.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from support import faultserver

MOST_STREAMS = (1 << 31) - 1
"""The number of the last stream that a connection can have."""
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"})


class Session:
    """One connection that has negotiated HTTP/2; each request is answered in a thread of its own."""

    def __init__(self, server: faultserver.FaultServer, connection: faultserver.Connection) -> None:
        self.server = server
        self.sock: socket.socket = connection.sock
        self.number = connection.number
        self.lock = threading.Condition()
        self.frames = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._streams: dict[int, Stream] = {}

    def run(self) -> None:
        """Serve until the client goes."""
        with self.lock:
            self.frames.initiate_connection()
            self.flush()
        threads: list[threading.Thread] = []
        try:
            while data := self.sock.recv(65536):
                with self.lock:
                    events = self.frames.receive_data(data)
                    for event in events:
                        if isinstance(event, RequestReceived) and event.stream_id is not None:
                            fields = {str(name): str(value) for name, value in event.headers or ()}
                            threads.append(self._start(event.stream_id, fields))
                        elif isinstance(event, StreamReset) and event.stream_id in self._streams:
                            self._streams[event.stream_id].closed = True
                        elif isinstance(event, DataReceived) and event.stream_id is not None:
                            self.frames.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                    self.flush()
                    if any(isinstance(event, WindowUpdated | StreamReset) for event in events):
                        self.lock.notify_all()
                    if any(isinstance(event, ConnectionTerminated) for event in events):
                        return
        except (OSError, ProtocolError):
            pass
        finally:
            with self.lock:
                for stream in self._streams.values():
                    stream.closed = True
                self.lock.notify_all()
            for thread in threads:
                thread.join()

    def flush(self) -> None:
        """Send the frames that are ready; to be called with the lock."""
        if data := self.frames.data_to_send():
            self.sock.sendall(data)

    def _start(self, number: int, fields: dict[str, str]) -> threading.Thread:
        stream = self._streams[number] = Stream(self, number)
        headers = tuple((name, value) for name, value in fields.items() if not name.startswith(":"))
        request = faultserver.Request(
            fields[":method"], fields[":path"], "HTTP/2", headers, b"", faultserver.now(), self.number
        )
        thread = threading.Thread(target=self._answer, args=(stream, request), name="fault server", daemon=True)
        thread.start()
        return thread

    def _answer(self, stream: Stream, request: faultserver.Request) -> None:
        try:
            self.server.answer(stream, request)
        except (OSError, faultserver.StoppedError, ProtocolError):
            pass
        except Exception as error:  # noqa: BLE001 - stop() raises it in the test
            self.server.errors.append(error)
        finally:
            with self.lock:
                self._streams.pop(stream.stream, None)


class Stream(faultserver.Connection):
    """One request's stream, as a script sees its connection."""

    def __init__(self, session: Session, stream: int) -> None:
        super().__init__(session.server, session.sock, session.number)
        self.stream = stream
        self._session = session
        self._head = b""
        self._chunks = b""
        self._left: int | None = None
        """Body bytes still to come; None for a body that ends with the connection, or in chunks."""
        self._chunked = False
        self._begun = self._complete = False

    def send(self, data: bytes) -> None:
        """Send what the HTTP/1.1 in ``data`` stands for."""
        if self.server.stopping.is_set():
            raise faultserver.StoppedError
        if self.closed:
            raise BrokenPipeError
        if self._begun:
            self._send_body(data)
            return
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, self._head = self._head.partition(b"\r\n\r\n")
            if self._send_head(head.decode("latin-1")):
                data, self._head = self._head, b""
                self._send_body(data)

    def hold(self) -> None:
        """Say nothing more until the client gives the stream up or the server stops."""
        with self._session.lock:
            while not (self.closed or self.server.stopping.is_set()):
                self._session.lock.wait(0.1)

    def close(self) -> None:
        """End the stream where its body may end here, else reset it as if nothing were wrong."""
        if self._begun and not self._complete and self._left is None and not self._chunked:
            self._data(b"", end=True)
        self._end(ErrorCodes.NO_ERROR)

    def reset(self, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        """Reset the stream."""
        self._end(code)

    def go_away(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Announce that the connection takes no further streams; those that have begun go on (RFC 9113 section 6.8)."""
        frame = GoAwayFrame(0, last_stream_id=MOST_STREAMS, error_code=code)
        with self._session.lock:  # H2Connection would send nothing behind it
            self._session.flush()
            self._session.sock.sendall(frame.serialize())

    def drop(self) -> None:
        """End the connection, with all of its streams."""
        with suppress(OSError):
            socket.socket.shutdown(self._session.sock, socket.SHUT_RDWR)  # see `faultserver.Connection.abort`
        self.server.served(self)
        self.closed = True

    def _end(self, code: ErrorCodes) -> None:
        self.server.served(self)
        if not self.closed and not self._complete:
            with self._session.lock, suppress(OSError, ProtocolError):
                self._session.frames.reset_stream(self.stream, code)
                self._session.flush()
        self.closed = True

    def abort(self) -> None:
        """From another thread: make whatever waits here return."""
        self.closed = True

    def _send_head(self, text: str) -> bool:
        """Send a head; tell whether it is a final one."""
        status, *lines = text.split("\r\n")
        code = status.split(" ")[1]
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        told = dict(fields)
        self._begun = not code.startswith("1")
        self._chunked = "chunked" in told.get("transfer-encoding", "")
        if not self._chunked and told.get("content-length", "").isdecimal():
            self._left = int(told["content-length"])
        self._complete = self._begun and self._left == 0
        kept = [(name, value) for name, value in fields if name not in _HOP_BY_HOP]
        with self._session.lock:
            self._session.frames.send_headers(self.stream, [(":status", code), *kept], end_stream=self._complete)
            self._session.flush()
        return self._begun

    def _send_body(self, data: bytes) -> None:
        if self._chunked:
            self._send_chunks(data)
        elif self._left is None:
            self._data(data)
        elif not self._complete:  # what is more than was promised has no place in a stream
            data = data[: self._left]
            self._left -= len(data)
            self._data(data, end=self._left == 0)

    def _send_chunks(self, data: bytes) -> None:
        self._chunks += data
        while b"\r\n" in self._chunks and not self._complete:
            size, _, rest = self._chunks.partition(b"\r\n")
            try:
                length = int(size, 16)
            except ValueError:
                self.reset()
                return
            if not length:
                self._data(b"", end=True)
            elif len(rest) < length + 2:
                return
            else:
                self._data(rest[:length])
                self._chunks = rest[length + 2 :]

    def _data(self, data: bytes, *, end: bool = False) -> None:
        frames = self._session.frames
        self._complete = self._complete or end
        view = memoryview(data)
        while view or end:
            with self._session.lock:
                room = min(frames.local_flow_control_window(self.stream), frames.max_outbound_frame_size)
                if room <= 0 and view:
                    if self.closed or self.server.stopping.is_set():
                        raise faultserver.StoppedError
                    self._session.lock.wait(0.5)
                    continue
                piece, view = view[:room], view[room:]
                frames.send_data(self.stream, bytes(piece), end_stream=end and not view)
                self._session.flush()
                if not view:
                    return
