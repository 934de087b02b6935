"""The event loop of the commands: a name server that does not answer holds up nothing but what asked it.

asyncio looks names up in the threads that also read the journal and open ports, of which there are few, and at its end
waits for them all. Without a name server a look-up takes 40 s and more (resolv.conf(5): two servers, two attempts, each
domain of `search`) and cannot be given up: a port that was plugged in waited for it, and so did the end of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class EventLoop(asyncio.SelectorEventLoop):
    """Looks each name up in a thread of its own, which nobody waits for; who asks the same meanwhile shares it."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name is the standard library's
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """See socket.getaddrinfo."""
        question = host, port, family, type, proto, flags
        answer = self._asked.get(question)
        if answer is None:
            answer = self._asked[question] = self.create_future()
            # An error that nobody waits for any more is nobody's.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            threading.Thread(target=self._look_up, args=(question, answer), name="look-up", daemon=True).start()
        # Its other askers go on waiting when one gives up.
        return await asyncio.shield(answer)

    def _look_up(self, question: tuple[Any, ...], answer: asyncio.Future[Any]) -> None:
        tell: Callable[[Any], None]
        try:
            found: Any = socket.getaddrinfo(*question)
            tell = answer.set_result
        except Exception as error:  # noqa: BLE001 - who asked is told
            found, tell = error, answer.set_exception

        def done() -> None:
            del self._asked[question]
            tell(found)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.call_soon_threadsafe(done)
