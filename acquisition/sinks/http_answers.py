"""What the answer of an HTTP server means for a batch: the table of DESIGN.md section 8."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from acquisition.errors import (
    SinkError,
    SinkRefusedError,
    SinkRejectedError,
    SinkTooLargeError,
    SinkUnavailableError,
)

LONGEST_QUOTE = 500
"""Characters of a server's words that are worth keeping."""
LONGEST_BODY = 16 << 20
"""Bytes of an answer that are read: an InfluxDB that quotes every line of a batch stays below."""

_REFUSED_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "check the token or the password",
    HTTPStatus.FORBIDDEN: "the token or user may not write there",
    HTTPStatus.NOT_FOUND: "check the URL, and that the bucket or database exists",
}
NOT_INFLUXDB = "this is not an answer of InfluxDB: check the URL, http against https, and the port"
_CERTIFICATE_HINTS = {
    9: "look at this host's clock, and at the server's certificate: it does not hold yet",
    10: "have it renewed, and look at this host's clock",
    62: "call the server by the name it is made out to",
    64: "call the server by the name it is made out to",
}
"""By OpenSSL's X509_V_ERR number (x509_vfy.h)."""
_TEMPORARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_REJECTED = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}


@asynccontextmanager
async def reaching(url: str, timeout_s: float) -> AsyncIterator[None]:
    """Turns everything that can befall a request on its way into sink errors.

    Raises:
        SinkUnavailableError: refused, reset, timed out, cut off.
        SinkRefusedError: the server's certificate is not trusted.
    """
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise SinkRefusedError(
            f"{place(url)} shows a certificate that is not trusted: {error.certificate_error}",
            hint=_CERTIFICATE_HINTS.get(
                getattr(error.certificate_error, "verify_code", 0), "give the authority's certificate as ca_file"
            ),
        ) from error
    except TimeoutError as error:
        raise SinkUnavailableError(f"{place(url)} did not answer within {timeout_s:g} s") from error
    except aiohttp.ClientResponseError as error:
        said = " ".join(error.message.split())[:LONGEST_QUOTE]
        raise SinkUnavailableError(
            f"{place(url)} answered what is no HTTP: {said}", hint="check the URL, http against https, and the port"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise SinkUnavailableError(f"{place(url)} cannot be reached: {why}") from error


def drop_spoiled(session: aiohttp.ClientSession) -> None:
    """Closes kept connections on which something has come that nobody asked for.

    aiohttp looks for that when a request ends, and not when the connection is used again: what came in between would be
    taken for the answer to the next batch.
    """
    if session.connector is not None:
        for kept in session.connector._conns.values():  # noqa: SLF001 - there is no public way to them
            for connection, _ in kept:
                if connection.should_close:
                    connection.close()


async def judge(response: aiohttp.ClientResponse, *, secret: str | None) -> None:
    """Returns if the server has taken the batch, once its answer is complete; as `answer_of` says."""
    await answer_of(response, secret=secret)


async def answer_of(response: aiohttp.ClientResponse, *, secret: str | None) -> str:
    """What the server says, once that is complete, if it has done what it was asked.

    Args:
        response: The answer; its body is read here.
        secret: Is never repeated, even if the server does.

    Raises:
        SinkError: it has not; which one says who must act.
        aiohttp.ClientError: the answer was cut off.
    """
    body = await _body(response)
    if response.status < HTTPStatus.MULTIPLE_CHOICES:
        return body
    words = _words(body)
    quote = " ".join((words or body).split())
    if secret:
        quote = quote.replace(secret, "***")
    raise _verdict(response, quote[:LONGEST_QUOTE] or response.reason or "no reason given", named=words is not None)


async def _body(response: aiohttp.ClientResponse) -> str:
    """The whole body, taken for UTF-8 as JSON is: of the encodings that a header can name, some cannot be decoded."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_BODY:
            response.close()
            message = f"{place(str(response.url))} answered {response.status} and more than {LONGEST_BODY >> 20} MiB"
            raise SinkRefusedError(message, hint=NOT_INFLUXDB)
    return body.decode(errors="replace")


def place(url: str) -> str:
    """Scheme, host and port of a URL, and nothing that could be secret."""
    return str(URL(url).origin())


def _verdict(response: aiohttp.ClientResponse, quote: str, *, named: bool) -> SinkError:
    status = response.status
    message = f"{place(str(response.url))} answered {status}: {quote}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TEMPORARY:
        return SinkUnavailableError(message, retry_after_s=_retry_after_s(response.headers))
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return SinkTooLargeError(message)
    if status in _REJECTED and named:
        return SinkRejectedError(message)
    if status in _REJECTED:
        # Plain HTTP spoken to a TLS port, and many a proxy, answer 400 to whatever comes. Only an InfluxDB says what is
        # wrong with the points; without that nothing may be set aside.
        hint: str | None = NOT_INFLUXDB
    elif status < HTTPStatus.BAD_REQUEST:
        hint = f"it points to {_redirect(response)}; redirects are not followed, give the final URL"
    else:
        hint = _REFUSED_HINTS.get(status)
    return SinkRefusedError(message, hint=hint)


def _words(body: str) -> str | None:
    """What an InfluxDB says is wrong, or None if it was not one that answered."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    words = said.get("message") or said.get("error")
    if not isinstance(words, str):
        return None
    # InfluxDB 3 names the lines in `data`.
    return f"{words}: {json.dumps(said['data'])}" if said.get("data") else words


def _redirect(response: aiohttp.ClientResponse) -> str:
    try:
        return place(response.headers["Location"])
    except (KeyError, ValueError):
        return "another place"


def _retry_after_s(headers: CIMultiDictProxy[str]) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3); a date counts from the server's own, so that no clock must agree."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # the last of a year that no integer of C holds
        return None
