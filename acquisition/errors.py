"""What can go wrong, told apart by who must act.

::

    AcquisitionError
    |-- ConfigError            the operator: the configuration or the command line is wrong (exit code 2)
    |-- TransportError         the session: the link cannot be opened or was lost; it reopens with back-off
    |   `-- LinkEndedError     nobody: the link has said all it will say (a trace is over)
    |-- WireError              nobody: bytes made no sense; the driver resynchronises and counts
    |-- UnitError              the profile's author, or nobody: a unit that cannot become the catalogue's
    |-- ForbiddenFrameError    the developer: a driver tried to send what is not on its read-only list
    |-- TraceError             the engineer: a trace file is damaged or of another format
    |-- JournalError           the operator: the disk refuses; acquisition goes on, the reading is not acknowledged
    |-- EpisodeError           the data manager: the registry of episodes was changed, damaged or cannot be written
    `-- SinkError
        |-- SinkUnavailableError   the forwarder: the same batch again, later
        |-- SinkRefusedError       a person: token, bucket or permission; everything is kept meanwhile
        |-- SinkTooLargeError      the forwarder: a smaller batch
        `-- SinkRejectedError      nobody: the server will never take these observations; they are quarantined
"""

from __future__ import annotations


class AcquisitionError(Exception):
    """Root of every error this project raises on purpose.

    Args:
        message: What happened and where.
        hint: What the reader can do about it; shown after the message.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        """The message, and the hint where there is one."""
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class ConfigError(AcquisitionError):
    """The configuration is wrong; `problems` has every mistake, each one line with its place and hint."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TransportError(AcquisitionError):
    """The link cannot be opened or was lost: port missing, connection refused or reset, cable pulled."""


class LinkEndedError(TransportError):
    """The link has ended for good, as a replayed trace does."""


class WireError(AcquisitionError):
    """Received bytes do not follow the protocol."""


class UnitError(AcquisitionError):
    """A unit is unknown, or does not measure the same quantity as the catalogue's."""


class ForbiddenFrameError(AcquisitionError):
    """A driver asked to send a frame that is not one of its read requests (promise 10)."""


class TraceError(AcquisitionError):
    """A trace file cannot be read from here on."""


class JournalError(AcquisitionError):
    """The journal could not be written or read."""


class EpisodeError(AcquisitionError):
    """The registry of episodes was changed, is damaged, or could not be written or read."""


class SinkError(AcquisitionError):
    """A sink did not take a batch."""


class SinkUnavailableError(SinkError):
    """The server cannot be reached or asks to wait; nothing is wrong with the batch.

    Args:
        message: What happened.
        retry_after_s: Seconds the server asked to wait, if it did.
        hint: What a person can do about it.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SinkRefusedError(SinkUnavailableError):
    """The server refuses us (401, 403, 404): everything is kept until a person mends token, bucket or rights."""


class SinkTooLargeError(SinkError):
    """The batch is larger than the server takes (413)."""


class SinkRejectedError(SinkError):
    """The server will never take something in this batch (400, 422); the forwarder finds out what."""
