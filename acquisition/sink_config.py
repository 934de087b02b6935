"""What `[[sink]]` may say, and where its secret comes from: systemd credentials, the environment or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from acquisition.errors import ConfigError

_T = TypeVar("_T")
SECRET_WAYS = ("credential", "env", "file")


def _server_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user or password does not belong in the URL; use the keys of this table")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a server's address; give http://host:port or https://host:port")
    return url


Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
ServerUrl = Annotated[str, AfterValidator(_server_url)]


class Table(BaseModel):
    """A table of the configuration: frozen, and a key that nobody knows is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _SinkTable(Table):
    """What every sink has.

    Attributes:
        key_stem: How the keys begin that say where the secret is, token or password.
        batch_points: Values or samples sent at once, at most.
        timeout_s: Patience with one batch.
        verify_tls: Off only for a server whose certificate nobody can verify.
        ca_file: PEM certificates of the site's own authority, in place of those the system trusts.
    """

    key_stem: ClassVar[str]

    id: Id
    batch_points: int = Field(default=10_000, ge=1, le=100_000)
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    verify_tls: bool = True
    ca_file: Path | None = None

    @property
    def secret_source(self) -> tuple[str, str] | None:
        """The way to the secret, one of SECRET_WAYS, and its name there; None if the server asks for none."""
        ways = ((way, getattr(self, f"{self.key_stem}_{way}")) for way in SECRET_WAYS)
        return next(((way, str(name)) for way, name in ways if name is not None), None)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        keys = [f"{self.key_stem}_{way}" for way in SECRET_WAYS]
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        return self


class _PasswordTable(_SinkTable):
    key_stem: ClassVar[str] = "password"

    username: str | None = None
    password_credential: str | None = None
    password_env: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.username is None) != (self.secret_source is None):
            raise ValueError("username and one of password_credential, password_env, password_file go together")
        return self


class InfluxV2Config(_SinkTable):
    """`type = "influxdb_v2"`: `/api/v2/write` of InfluxDB 1.8, 2, 3 and VictoriaMetrics."""

    key_stem: ClassVar[str] = "token"

    type: Literal["influxdb_v2"]
    url: ServerUrl
    org: str = ""
    bucket: str
    token_credential: str | None = None
    token_env: str | None = None
    token_file: Path | None = None


class InfluxV1Config(_PasswordTable):
    """`type = "influxdb_v1"`: `/write` of InfluxDB 1.x."""

    type: Literal["influxdb_v1"]
    url: ServerUrl
    database: str
    retention_policy: str | None = None


class MqttConfig(_PasswordTable):
    """`type = "mqtt"`.

    Attributes:
        prefix: First level or levels of every topic.
    """

    type: Literal["mqtt"]
    host: str
    port: int = Field(default=1883, ge=1, le=65535)
    prefix: str = Field(default="ecmo", pattern=r"^[^/#+\s]+(/[^/#+\s]+)*$")
    tls: bool = False


AnySink = InfluxV2Config | InfluxV1Config | MqttConfig
SinkConfig = Annotated[AnySink, Field(discriminator="type")]


def read_secret(sink: AnySink) -> SecretStr | None:
    """The token or password of a sink; None if it needs none.

    Raises:
        ConfigError: it is not where the configuration says; the problem begins with the key that says so.
    """
    if sink.secret_source is None:
        return None
    way, name = sink.secret_source
    key = f"{sink.key_stem}_{way}"
    if way == "env":
        if not os.environ.get(name):
            raise ConfigError([f"{key}: environment variable {name} is not set"])
        return SecretStr(os.environ[name])
    path = Path(name)
    if way == "credential":
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            hint = f"LoadCredential={name}:<file> in the unit, or CREDENTIALS_DIRECTORY=<directory> on the command line"
            raise ConfigError([f"{key}: there is no credentials directory ({hint})"])
        path = Path(directory) / name
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError([f"{key}: {path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise ConfigError([f"{key}: {path} is not text"]) from None  # the cause would show the secret
    if not text:
        raise ConfigError([f"{key}: {path} is empty"])
    return SecretStr(text)


def anchored(value: _T, base: Path) -> _T:
    """A table, with every relative path in it counted from `base`."""
    moved: Any = value
    if isinstance(value, BaseModel):
        fields = {name: anchored(getattr(value, name), base) for name in type(value).model_fields}
        moved = value.model_copy(update=fields)
    elif isinstance(value, tuple):
        moved = tuple(anchored(each, base) for each in value)
    elif isinstance(value, Path):
        moved = base / value
    return cast(_T, moved)
