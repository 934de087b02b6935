"""Serial ports: a real line or a pseudo-terminal, opened for us alone, whose unplugging is seen within two seconds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from functools import partial
from typing import Any, Literal, TypeAlias

import serial
from serial_asyncio_fast import connection_for_serial

from acquisition.errors import TransportError
from acquisition.transports.stream import FAREWELL_S, Connection, StreamTransport

Parity: TypeAlias = Literal["none", "even", "odd"]
FAREWELL_STEPS = 10
WATCH_S = 1.0
"""How often it is checked that the path still names the port that was opened."""
_PTY_MAJORS = range(136, 144)
"""Unix98 pseudo-terminals (Linux admin-guide/devices.txt)."""

_PARITY = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_ABSENT = "check cable and power; name it by its /dev/serial/by-path/ entry, which stays the same for a socket"
_DENIED = "the user who runs this must be in the group dialout"
_BUSY = "another program has the port open; stop it, or find it with fuser"
_HINTS = {
    errno.ENOENT: _ABSENT,
    errno.ENODEV: _ABSENT,
    errno.ENXIO: _ABSENT,
    errno.EIO: _ABSENT,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EBUSY: _BUSY,
    errno.EAGAIN: _BUSY,
    errno.EINVAL: "the port does not support these line settings",
    errno.ENOTTY: "that is not a serial port",
}
_CLOSED = (OSError, termios.error, TypeError)
"""What pyserial raises of a port that has gone, or that its library has closed or is closing."""


class SerialTransport(StreamTransport):
    """A serial port in raw mode, with DTR and RTS raised.

    Args:
        path: Device node or a link to one.
        baud: Bits per second.
        bytesize: Data bits, 5 to 8.
        parity: Parity bit.
        stopbits: 1 or 2.
        rtscts: Hardware flow control.

    Attributes:
        settings: The same in pyserial's terms.
    """

    def __init__(
        self,
        path: str,
        baud: int = 9600,
        bytesize: int = 8,
        parity: Parity = "none",
        stopbits: int = 1,
        rtscts: bool = False,
    ) -> None:
        super().__init__(path)
        self.settings = {
            "baudrate": baud,
            "bytesize": bytesize,
            "parity": _PARITY[parity],
            "stopbits": stopbits,
            "rtscts": rtscts,
        }
        self._port: Any = None
        self._watch: asyncio.TimerHandle | None = None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(self.name)
        try:
            node = _node(self.name)
            self._port = port = await loop.run_in_executor(None, self._open_port)
            port.write = partial(_write, port.fileno(), connection)
            try:
                transport, _ = await connection_for_serial(loop, lambda: connection, port)
            except BaseException:
                port.close()
                raise
        except (OSError, termios.error, ValueError) as error:
            raise _cannot_open(self.name, error) from None
        # The library says so only in the loop's next turn; a link left before that would stay open.
        connection.connection_made(transport)
        self._watch = loop.call_later(WATCH_S, self._look, connection, node)
        return connection

    def _open_port(self) -> Any:
        if os.major(os.stat(self.name).st_rdev) in _PTY_MAJORS:
            # It has neither, and setting them fails (tcsetattr(3): EINVAL).
            return serial.Serial(self.name, exclusive=True, **self.settings | {"bytesize": 8, "parity": "N"})
        port = serial.Serial(self.name, exclusive=True, **self.settings)
        # exclusive=True keeps out those who ask for the lock; this keeps out the rest. Not on a pseudo-terminal, where
        # the other holder of the node would keep the mark after a crash of ours.
        with contextlib.suppress(OSError):
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        return port

    def _look(self, connection: Connection, node: tuple[object, ...]) -> None:
        try:
            present = _node(self.name) == node
        except OSError:
            present = False
        if present:
            self._watch = asyncio.get_running_loop().call_later(WATCH_S, self._look, connection, node)
        else:
            connection.lose("the port has gone")

    async def _farewell(self, connection: Connection) -> None:
        if self._watch is not None:
            self._watch.cancel()
        port = self._port
        try:
            await super()._farewell(connection)
            if connection.alive:
                await _sent(port)
        finally:
            with contextlib.suppress(*_CLOSED):
                # Closing a port that cannot get rid of its output would block for 30 s (closing_wait, setserial(8)).
                if port.out_waiting:
                    port.reset_output_buffer()
                fcntl.ioctl(port.fileno(), termios.TIOCNXCL)


async def _sent(port: Any) -> None:
    with contextlib.suppress(*_CLOSED):
        for _ in range(FAREWELL_STEPS):
            if not port.out_waiting:
                return
            await asyncio.sleep(FAREWELL_S / FAREWELL_STEPS)


def _write(descriptor: int, connection: Connection, data: bytes) -> int:
    """Writes what the port takes.

    It stands in for pyserial's own `write`, which spins, and stops the whole event loop, while a port that does not
    block takes nothing.

    Raises:
        BlockingIOError: nothing; the library tries again when there is room.
    """
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        raise
    except OSError as error:
        connection.lose(error.strerror or str(error))
        return len(data)


def _node(path: str) -> tuple[object, ...]:
    """What tells one device node from the next of the same name."""
    found = os.stat(path)
    return os.path.realpath(path), found.st_rdev, found.st_dev, found.st_ino


def _cannot_open(path: str, error: Exception) -> TransportError:
    cause = error.__context__ if isinstance(error.__context__, termios.error) else error
    number = getattr(error, "errno", None) or (cause.args[0] if isinstance(cause, termios.error) else None)
    reason = os.strerror(number) if number else str(error)
    return TransportError(f"{path}: cannot be opened: {reason}", hint=_HINTS.get(number or 0))
