"""An MQTT broker: every observation as a JSON line (DESIGN.md section 10) under the bed's topic, at QoS 1.

`<prefix>/<site>/<bed>/<device>/numerics`, `.../waveform/<channel>`, `.../event`; the retained
`<prefix>/<site>/<bed>/status` says `online`, and `offline` by the last will. MQTT 3.1.1 cannot refuse a message: a
broker that forbids the topic acknowledges and drops it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from acquisition.errors import SinkRefusedError, SinkUnavailableError
from acquisition.model import Event, Numerics, Observation, Waveform, json_line
from acquisition.sinks.tls import client_context

Message = tuple[str, str]
"""Topic and payload."""

IN_FLIGHT = 20
"""Messages that wait for their acknowledgement at once; mosquitto's own default."""

GOODBYE_S = 2.0
"""Longest time to wait, when leaving, for a broker that may have gone."""

_NOT_IN_A_LEVEL = re.compile(r"[/+#\x00]")
# MQTT 5.0 section 3.2.2.2: what will pass without a person's help. aiomqtt gives codes of 3.1.1 in these terms too.
_TEMPORARY = {136, 137, 151, 156, 159}  # unavailable, busy, quota, another server, connection rate


class MqttSink:
    """A broker. The connection is opened by the first delivery, and by the next after it was lost.

    Args:
        host: Broker.
        port: Its port.
        prefix: First level or levels of every topic.
        site: Second level.
        bed: Third level.
        username: User, if the broker wants one.
        password: Its password.
        tls: Whether to speak TLS.
        verify_tls: Whether certificate and host name are checked.
        ca_file: PEM certificates to trust in place of the host's.
        timeout_s: Longest time for the broker to accept the connection, and to acknowledge one message.
        visits: Sends beside the daemon: says nothing of the bed's being online, and has a client id of its own, because
            a broker hangs up on who has that of a newcomer.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate.
    """

    def __init__(
        self,
        *,
        host: str,
        site: str,
        bed: str,
        port: int = 1883,
        prefix: str = "ecmo",
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        verify_tls: bool = True,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        visits: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._root = f"{prefix}/{_level(site)}/{_level(bed)}"
        self._username = username
        self._password = password
        self._tls = client_context(verify=verify_tls, ca_file=ca_file) if tls else None
        self._timeout_s = timeout_s
        self._visits = visits
        self._client: _Client | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                # The last will is for those who cannot say it themselves.
                patience_s = min(GOODBYE_S, self._timeout_s)
                if not self._visits:
                    await client.publish(f"{self._root}/status", "offline", qos=1, retain=True, timeout=patience_s)
            except aiomqtt.MqttError:
                pass
            finally:
                client.abandon()

    def prepare(self, observations: Sequence[Observation]) -> Sequence[Message]:
        """A message for each observation."""
        return tuple(self._messages(observations))

    async def deliver(self, prepared: Sequence[Message]) -> None:
        """Publishes the batch and returns when the broker has acknowledged each message; see `Sink.deliver`."""
        try:
            if self._client is None:
                self._client = await self._connect()
            await _publish_all(self._client, prepared)
        except aiomqtt.MqttError as error:
            if self._client is not None:
                self._client.abandon()
                self._client = None
            raise self._verdict(error) from error

    async def _look_up(self) -> None:
        """Finds out whether the broker's name has an address.

        The library asks once more, in a thread that is waited for at the end: only a name server that answers may be
        asked there.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error) or "the name server does not answer"
            raise SinkUnavailableError(f"{self._host}:{self._port}: {why}") from error

    async def _connect(self) -> _Client:
        await self._look_up()
        status = f"{self._root}/status"
        client = _Client(
            self._host,
            self._port,
            identifier=f"ecmo-daq-{self._root}" + f"-{os.getpid()}" * self._visits,
            username=self._username,
            password=self._password,
            will=None if self._visits else aiomqtt.Will(status, "offline", qos=1, retain=True),
            tls_context=self._tls,
            timeout=self._timeout_s,
        )
        try:
            await client.__aenter__()
            if not self._visits:
                await client.publish(status, "online", qos=1, retain=True)
        except BaseException:
            client.abandon()
            raise
        return client

    def _messages(self, observations: Iterable[Observation]) -> Iterator[Message]:
        for observation in observations:
            match observation:
                case Numerics():
                    kind = "numerics"
                case Waveform():
                    kind = f"waveform/{_level(observation.channel)}"
                case Event():
                    kind = "event"
            yield f"{self._root}/{_level(observation.device)}/{kind}", json_line(observation)

    def _verdict(self, error: aiomqtt.MqttError) -> SinkUnavailableError:
        broker = f"{self._host}:{self._port}"
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "give the authority's certificate as ca_file"
            return SinkRefusedError(f"{broker} shows a certificate that is not trusted: {error}", hint=hint)
        if isinstance(code, ReasonCode) and code.value not in _TEMPORARY:
            return SinkRefusedError(f"{broker} refuses the connection: {error}", hint="check username and password")
        return SinkUnavailableError(f"{broker}: {error}")


class _Client(aiomqtt.Client):
    """Can be left at any moment, also while it connects, when aiomqtt leaves socket and task behind."""

    def abandon(self) -> None:
        """Says goodbye if there is a connection, without waiting; the client is of no use afterwards."""
        # A connect still under way in its thread must not touch the loop any more; nobody waits for an answer either.
        self._client.on_socket_open = None
        self._client.on_disconnect = None
        # Without a place to register, the goodbye is written at once and the socket closed.
        self._client.on_socket_register_write = None
        self._client.disconnect()
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()


async def _publish_all(client: aiomqtt.Client, messages: Sequence[Message]) -> None:
    """Publishes in order, a bounded number in flight.

    Raises:
        aiomqtt.MqttError: not all were acknowledged.
    """
    client.pending_calls_threshold = IN_FLIGHT
    left = iter(messages)

    async def publish_on() -> None:
        for topic, payload in left:
            await client.publish(topic, payload, qos=1)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(IN_FLIGHT):
                group.create_task(publish_on(), name=f"mqtt-publish-{number}")
    except ExceptionGroup as errors:
        # All of them tell of one lost connection.
        raise errors.exceptions[0] from None


def _level(text: str) -> str:
    return _NOT_IN_A_LEVEL.sub("_", text)
