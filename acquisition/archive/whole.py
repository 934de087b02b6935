"""A file that is there whole or not at all: a disk that fills up leaves what was there before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from acquisition.errors import ConfigError


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A place beside `out` to write to, which becomes `out` at the end; a device or a pipe is written to itself.

    Raises:
        ConfigError: it cannot be written.
    """
    itself = out.exists() and not out.is_file()
    partial = out if itself else out.with_name(f".partial-{out.name}")
    try:
        yield partial
        if not itself:
            os.replace(partial, out)
    except OSError as error:
        raise ConfigError([f"{out}: cannot be written: {error.strerror or error}"]) from error
    finally:
        if not itself:
            with suppress(OSError):
                partial.unlink()
