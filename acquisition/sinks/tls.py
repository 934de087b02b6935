"""How a sink trusts a server: verified by default, with the site's own authority where it has one."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(*, verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    """The TLS settings of a client.

    Args:
        verify: Whether certificate and host name are checked; off only for a server without a proper certificate.
        ca_file: PEM certificates to trust in place of the host's.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificate; it is named, which the library does not do.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one too
        raise OSError(f"{ca_file} cannot be used: {error.strerror or error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
