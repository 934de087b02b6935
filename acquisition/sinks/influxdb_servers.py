"""Where an InfluxDB is and who we are there: the same for who writes to it, deletes from it and reads from it."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from acquisition.sinks.tls import client_context


class Credentials(NamedTuple):
    """How we show who we are: a user and password (1.x), or a token (2.x, 3.x)."""

    user: str | None = None
    secret: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of a request."""
        if self.user is not None:
            pair = b64encode(f"{self.user}:{self.secret or ''}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {} if self.secret is None else {"Authorization": f"Token {self.secret}"}


@dataclass(frozen=True, kw_only=True)
class _Server:
    """What all have.

    Attributes:
        url: `http(s)://host:port`, and the path before the API's own if a proxy adds one.
        verify_tls: Whether certificate and host name are checked.
        ca_file: PEM certificates to trust in place of the host's.
    """

    url: str
    verify_tls: bool = True
    ca_file: Path | None = None

    @property
    def tls(self) -> ssl.SSLContext:
        """How its certificate is judged.

        Raises:
            OSError: `ca_file` cannot be read, or holds no certificate.
        """
        if self.ca_file is None and not self.url.lower().startswith("https:"):
            # It shows none: reading the host's authorities takes longer than a delivery. This trusts nobody.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return client_context(verify=self.verify_tls, ca_file=self.ca_file)


@dataclass(frozen=True, kw_only=True)
class InfluxV1Server(_Server):
    """A database of InfluxDB 1.x.

    Attributes:
        database: Database.
        username: User, if the server wants one.
        password: Its password.
        retention_policy: Retention policy; the database's default if None.
    """

    database: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    retention_policy: str | None = None

    @property
    def credentials(self) -> Credentials:
        """Who we are there."""
        return Credentials(self.username, self.password if self.username is not None else None)

    @property
    def place(self) -> dict[str, str]:
        """Which database and retention policy, as parameters of a request."""
        return {"db": self.database} | ({"rp": self.retention_policy} if self.retention_policy else {})


@dataclass(frozen=True, kw_only=True)
class InfluxV2Server(_Server):
    """A bucket of InfluxDB 2 or 3, or of 1.8 and VictoriaMetrics, which know the same path to write to.

    Attributes:
        bucket: Bucket, or `database/retention` for 1.8; VictoriaMetrics ignores it.
        org: Organisation; empty where the server knows none.
        token: Token, or `user:password` for 1.8; None for a server without authentication.
    """

    bucket: str
    org: str = ""
    token: str | None = field(default=None, repr=False)

    @property
    def credentials(self) -> Credentials:
        """Who we are there."""
        return Credentials(secret=self.token)
