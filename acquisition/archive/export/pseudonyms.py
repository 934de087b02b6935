"""New names for a data request, made by a key that stays with the data manager (CLINICAL.md section 6.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from acquisition.errors import ConfigError

KEY_BYTES = 32
_SHIFT_DAYS = range(366, 3651)


@dataclass(frozen=True)
class Pseudonyms:
    """Names that only who has the key can make again.

    Attributes:
        key: Secret; None: everything keeps its name.
        request: Of the data request; another request gives other names.
    """

    key: bytes | None = None
    request: str = ""

    @property
    def active(self) -> bool:
        """Whether names are new."""
        return self.key is not None

    def subject(self, name: str) -> str:
        """The subject's id in this data set."""
        return self._named("subject", name, "P")

    def device(self, name: str) -> str:
        """The device's id in this data set; events of the daemon stay such."""
        return name if name == "daemon" else self._named("device", name, "D")

    def bed(self, name: str) -> str:
        """The bed's name in this data set."""
        return self._named("bed", name, "B")

    def person(self, name: str) -> str:
        """The name of who entered something."""
        return self._named("person", name, "A")

    def shift_days(self, subject: str) -> int:
        """Whole days that this subject's dates are moved back by; the same in every table."""
        if self.key is None:
            return 0
        return _SHIFT_DAYS[int.from_bytes(self._digest("shift", subject)[:8], "big") % len(_SHIFT_DAYS)]

    def _named(self, kind: str, name: str, letter: str) -> str:
        if self.key is None:
            return name
        return f"{letter}-{base64.b32encode(self._digest(kind, name)[:10]).decode().rstrip('=').lower()}"

    def _digest(self, kind: str, name: str) -> bytes:
        message = b"\0".join(part.encode() for part in (self.request, kind, name))
        return hmac.new(self.key or b"", message, hashlib.sha256).digest()


def read_key(path: Path, out: Path) -> bytes:
    """The key in a file of hexadecimal digits; a new one where there is no file, readable by its owner alone.

    Args:
        path: Of the file.
        out: Directory of the data set, which the key must not travel with.

    Raises:
        ConfigError: the file holds no key, cannot be read, or lies in the data set.
    """
    if path.absolute().is_relative_to(out.absolute()):
        raise ConfigError([f"{path}: the key must not lie in the data set"])
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ConfigError([f"{path}: not a key: {2 * KEY_BYTES} hexadecimal digits (name a new file, and it is made)"])
    return key
