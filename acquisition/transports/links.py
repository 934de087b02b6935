"""The links of one bed: one for each device, but for those that share a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from acquisition.interfaces import Floor, Transport
from acquisition.transports.shared import SharedLine
from acquisition.transports.trace import TraceTransport
from acquisition.transports.url import open_link


class Links:
    """Makes the transports of a bed; devices with the same link, and an address each, share it.

    Args:
        urls: The links of all its devices.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self._uses = Counter(urls)
        self._lines: dict[str, SharedLine] = {}

    def open(self, url: str, defaults: str, address: str | None) -> tuple[Transport, Floor | None]:
        """A device's transport, and what its session must claim before the driver speaks, if anything.

        Args:
            url: Of the link.
            defaults: Parameters for what the URL does not say.
            address: Of the device on a line that it may share; None if it may not.

        Raises:
            ConfigError: the URL is wrong.
            TraceError: it names a trace that cannot be read.
        """
        if address is not None and self._uses[url] > 1:
            if url not in self._lines:
                self._lines[url] = SharedLine(open_link(url, defaults=defaults))
            member = self._lines[url].member()
            return member, member
        transport = open_link(url, defaults=defaults)
        if isinstance(transport, TraceTransport) and transport.header.shared:
            return transport, transport
        return transport, None
