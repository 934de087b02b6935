"""The way to a sink, step by step: its name, its port, its certificate, its token, and whether it takes a point."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from acquisition.clock import Clock
from acquisition.config import RESERVED_DEVICE
from acquisition.doctor.findings import Finding, fail, ok, warn
from acquisition.doctor.unit import Unit, reach
from acquisition.errors import SinkError, SinkRefusedError, SinkRejectedError
from acquisition.interfaces import Sink
from acquisition.model import Event, EventKind
from acquisition.sink_config import AnySink, MqttConfig

LEAST_DAYS = 14
"""Of a certificate's life, before somebody should renew it."""
# X509_V_ERR_* of OpenSSL (openssl-verification-options(1), x509_vfy.h).
_CERTIFICATE = {
    9: "it is not valid yet: is this machine's clock right?",
    10: "it has run out: have it renewed on the server",
    18: "nobody vouches for it: give the server's certificate as ca_file",
    19: "its authority is not trusted here: give the authority's certificate as ca_file",
    20: "its authority is not trusted here: give the authority's certificate as ca_file",
    62: "it is another host's: give the name in the certificate, or have the server get one for this name",
    64: "it is not for this address: give the name in the certificate in place of the address",
}
KEPT = "until then everything is kept in the journal"


async def sink(
    config: AnySink, make: Callable[[], Sink[object]], clock: Clock, unit: Unit | None = None
) -> Sequence[Finding]:
    """Goes the way to a sink as far as it leads; where it ends, the last finding says why and what to do.

    Args:
        config: Its table.
        make: Makes the sink itself.
        clock: For times of certificates and of the event that is sent.
        unit: Whose firewall counts, if any.
    """
    host, port, tls = _address(config)
    name = f"sink {config.id}"
    try:
        told = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        todo = "check its name, and the name server in /etc/resolv.conf; or add it to /etc/hosts"
        return [fail(f"{name}: {host} has no address: {getattr(error, 'strerror', None) or error}", todo)]
    addresses = sorted({str(each[4][0]) for each in told})
    found = [ok(f"{name}: {host} has an address"), *reach(unit, name, addresses)]
    if tls:
        answer, goes_on = await _certificate(name, host, port, config, clock)
        found.append(answer)
        if not goes_on:
            return found
    return [*found, await _point(name, config, make, clock)]


def _address(config: AnySink) -> tuple[str, int, bool]:
    if isinstance(config, MqttConfig):
        return config.host, config.port, config.tls
    parts = urlsplit(config.url)
    tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if tls else 80), tls


async def _certificate(name: str, host: str, port: int, config: AnySink, clock: Clock) -> tuple[Finding, bool]:
    """What there is to say of a server's certificate, and whether a point can be sent at all."""
    if not config.verify_tls:
        return warn(
            f"{name}: its certificate is not checked", "give its authority as ca_file, and verify_tls = true"
        ), True
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:  # an SSLError of a file that holds no certificate is one too
        what = f"{name}: ca_file {config.ca_file} cannot be used: {error.strerror or error}"
        return fail(what, "give a readable file with certificates in PEM"), False
    server = f"{host}:{port}"
    try:
        async with asyncio.timeout(config.timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        todo = _CERTIFICATE.get(error.verify_code, "have it mended on the server")
        return fail(f"{name}: its certificate does not hold: {error.verify_message}", todo), False
    except ssl.SSLError as error:
        todo = "does that port speak TLS? Without it, it is http://, or tls = false"
        return fail(f"{name}: no TLS with {server}: {error.reason or error}", todo), False
    except (OSError, TimeoutError) as error:
        todo = "does the server run, is the port right, does a firewall let it through?"
        return fail(f"{name}: {server} does not answer: {str(error) or 'too slow'}", todo), False
    certificate = writer.get_extra_info("peercert")
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(config.timeout_s):
            await writer.wait_closed()
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) * 1e9 - clock.now().utc_ns) / 86_400e9)
    text = f"{name}: its certificate holds for {days} days"
    return ok(text) if days >= LEAST_DAYS else warn(text, "have it renewed on the server"), True


async def _point(name: str, config: AnySink, make: Callable[[], Sink[object]], clock: Clock) -> Finding:
    event = Event(
        device=RESERVED_DEVICE, time_ns=clock.now().utc_ns, event=EventKind.DAEMON, text="doctor: test of the sink",
        detail={"sink": config.id},
    )  # fmt: skip
    try:
        async with make() as opened:
            await opened.deliver(opened.prepare([event]))
    except SinkRefusedError as error:
        return fail(f"{name}: {error}", f"mend the token, password, bucket or its rights; {KEPT}")
    except SinkRejectedError as error:
        return fail(
            f"{name}: it does not take what is written: {error}", "is it that kind of server, and http or https?"
        )
    except (SinkError, OSError) as error:
        return fail(f"{name}: {error}", f"does the server run, is the port right? {KEPT}")
    return ok(f"{name}: takes what it is sent")
