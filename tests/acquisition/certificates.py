"""Certificates that no authority vouches for: good for loopback, for another host, or out of date."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path


async def _openssl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("openssl", *arguments, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def _self_signed(directory: Path, name: str, days: int) -> tuple[Path, Path]:
    certificate, key, request = directory / "cert.pem", directory / "key.pem", directory / "request.pem"
    await _openssl(
        *(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN=test {directory.name}",
        ),
        *("-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(request)),
    )
    await _openssl(
        *("x509", "-req", "-in", str(request), "-signkey", str(key), "-days", str(days)),
        *("-copy_extensions", "copy", "-out", str(certificate)),
    )
    return certificate, key


async def server_context(directory: Path, *, name: str = "IP:127.0.0.1", days: int = 2) -> tuple[Path, ssl.SSLContext]:
    """The certificate, and the TLS settings of a server that shows it.

    Args:
        directory: Where certificate and key are put.
        name: Whom it speaks for.
        days: How long it holds; negative if it is over.
    """
    certificate, key = await _self_signed(directory, name, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
