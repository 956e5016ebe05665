"""A WebSocket on a connection of the sandbox's server (RFC 6455), with the protocol of the package `websockets`.

The package is among the requirements of tests. Without it, everything but the gateway works.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedIOBase
from threading import Lock

try:
    from websockets.datastructures import Headers
    from websockets.exceptions import InvalidState
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request
    from websockets.protocol import OPEN
    from websockets.server import ServerProtocol
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True


class WebSocket:
    """A connection after the handshake. One thread reads from it while others write to it.

    If the request is no handshake, it is answered with what is wrong, and `is_open` is False.
    """

    def __init__(
        self, connection: socket.socket, reader: BufferedIOBase, path: str, headers: Mapping[str, str]
    ) -> None:
        self._socket = connection
        self._reader = reader
        self._lock = Lock()
        handshake = ServerProtocol()
        handshake.send_response(handshake.accept(Request(path, Headers(headers))))
        self.is_open = handshake.state is OPEN
        self._protocol = ServerProtocol(state=OPEN)
        for part in handshake.data_to_send():
            connection.sendall(part)

    def messages(self) -> Iterator[str]:
        """Yield the client's text messages until the connection ends."""
        while data := self._reader.read1(65536):
            with self._lock:
                self._protocol.receive_data(data)
                frames = self._protocol.events_received()
                self._flush()
            for frame in frames:
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                    yield bytes(frame.data).decode(errors="replace")
            if self._protocol.close_expected():
                return

    def send(self, message: str | bytes) -> None:
        """Send a text or binary message. Raises OSError once the connection has ended."""
        with self._lock:
            try:
                if isinstance(message, str):
                    self._protocol.send_text(message.encode())
                else:
                    self._protocol.send_binary(message)
            except InvalidState:
                raise BrokenPipeError("the connection is closing") from None
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Begin to close the connection."""
        with self._lock:
            if self._protocol.state is OPEN:
                self._protocol.send_close(code, reason)
                self._flush()

    def _flush(self) -> None:
        for part in self._protocol.data_to_send():
            if part:
                self._socket.sendall(part)
            else:
                with suppress(OSError):  # the client may have ended the connection already
                    self._socket.shutdown(socket.SHUT_WR)
