"""A sink that is made when it is entered: what cannot be read of one sink must not keep a bed from recording."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from acquisition.errors import ConfigError, SinkRefusedError
from acquisition.interfaces import Sink


class MadeLate:
    """Gives a sink each time it is entered, with the secret and the certificates that are there then.

    Args:
        make: Makes it; raises ConfigError or OSError while it cannot be made.
    """

    def __init__(self, make: Callable[[], Sink[Any]]) -> None:
        self._make = make
        self._sink: Sink[Any] | None = None

    async def __aenter__(self) -> Sink[Any]:
        """The sink, entered.

        Raises:
            SinkRefusedError: it cannot be made until a person has mended something.
        """
        try:
            self._sink = self._make()
        except (ConfigError, OSError) as error:
            raise SinkRefusedError(str(error), hint="may the service's account read it?") from error
        return await self._sink.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves it."""
        if self._sink is not None:
            await self._sink.__aexit__(exc_type, exc, traceback)
