"""Times that people write: with an offset always, and with the one that the bed's zone has on that day."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from acquisition.clock import NS, from_rfc3339

_HINT = "write it like 2026-01-31T18:00:00+01:00, or ...Z for UTC"


def time_ns(text: str, zone: ZoneInfo | None) -> int:
    """UTC nanoseconds of a time.

    Args:
        text: RFC 3339 with offset.
        zone: Of the bed. An offset that is neither UTC nor the zone's own at that instant is a slip of summer time.

    Raises:
        ValueError: not such a time; the message says what to write.
    """
    try:
        found = from_rfc3339(text)
        offset = datetime.fromisoformat(text).utcoffset()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is not a time with a UTC offset: {error} ({_HINT})") from None
    if zone is None or not offset:
        return found
    local = datetime.fromtimestamp(found // NS, UTC).astimezone(zone)
    if local.utcoffset() != offset:
        raise ValueError(f"{text!r}: {zone.key} has another offset then; is it {local.isoformat()}?")
    return found
