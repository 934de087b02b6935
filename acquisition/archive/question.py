"""What is asked of a source, and its answer: readings as they are, or figures of buckets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from acquisition.archive.chunk import Chunk, Window
from acquisition.archive.export.blinding import CHANNELS, tells
from acquisition.archive.resample import Buckets, Unfinished, resample
from acquisition.archive.scope import EVER, Scope, devices_of
from acquisition.archive.source import Source, is_wave
from acquisition.catalogue import Catalogue
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest
from acquisition.model import Event, Quality


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        scope: Whose readings, or of which bed, and when.
        channels: Channel ids; None: all, and events too.
        devices: Device ids; None: all.
        quality: The worst that is taken.
        every_ns: Length of a bucket; None: readings as they are.
        aggregates: Figures of a bucket.
        unblinded: Whether what tells of the study drug is answered too.

    Raises:
        ConfigError: who is blinded asks for a channel that tells of it.
    """

    scope: Scope
    channels: frozenset[str] | None = None
    devices: frozenset[str] | None = None
    quality: Quality = Quality.BAD
    every_ns: int | None = None
    aggregates: tuple[str, ...] = ("mean",)
    unblinded: bool = False

    def __post_init__(self) -> None:
        if hidden := sorted(CHANNELS & (self.channels or frozenset())) if not self.unblinded else []:
            raise ConfigError(
                [f"{', '.join(hidden)}: tells of the study drug; ask in the role unblinded, if it is yours"]
            )

    def readings(self, source: Source) -> Iterator[Chunk]:
        """Numerics and then waves, bed by bed; see `Source`."""
        for window in self.scope.windows:
            for part in self._of(source, window):
                yield from part

    def figures(self, source: Source) -> Iterator[Buckets]:
        """Of the buckets of each bed; one in which the subject was moved is of both.

        Raises:
            ValueError: the question has no length of a bucket.
        """
        if self.every_ns is None:
            raise ValueError("no length of a bucket")
        numerics, waves = Unfinished(self.every_ns), Unfinished(self.every_ns)
        for window in self.scope.windows:
            to_ns = EVER if window is self.scope.windows[-1] else window.to_ns
            for unfinished, part in zip((numerics, waves), self._of(source, window), strict=True):
                yield from resample(unfinished.held_back(part, to_ns), self.every_ns, self.aggregates)

    def events(self, source: Source) -> Iterator[Event]:
        """Of the asked devices; where none are, of the daemon too. None where channels are asked for."""
        if self.channels is not None:
            return
        for window in self.scope.windows:
            for event in source.events(window):
                told = self.unblinded or not tells(f"{event.text} {event.detail}")
                asked = self.devices is None or event.device in self.devices
                if told and asked and window.hears(event.device):
                    yield event

    def _of(self, source: Source, window: Window) -> tuple[Iterator[Chunk], Iterator[Chunk]]:
        """Numerics, and waves."""
        devices = devices_of(window, self.devices)
        numerics, waves = _kinds(self.channels)
        return (
            self._kept(iter(()) if numerics == frozenset() else source.numerics(window, devices, numerics)),
            self._kept(iter(()) if waves == frozenset() else source.waves(window, devices, waves)),
        )

    def _kept(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        kept = (chunk.at_least(self.quality) for chunk in chunks if self.unblinded or chunk.channel not in CHANNELS)
        return (chunk for chunk in kept if len(chunk))


def checked_channels(names: Collection[str]) -> frozenset[str]:
    """The names.

    Raises:
        ConfigError: one is in no catalogue; the nearest is named.
    """
    catalogue = Catalogue.shipped()
    unknown = [name for name in names if not catalogue.admits(name)]
    if unknown:
        known = [channel.id for channel in catalogue if not channel.hidden]
        hints = [nearest(name, known).partition(" (have")[0] for name in unknown]
        raise ConfigError(
            [
                f"unknown channel {name!r}{hint} (see config/channels.toml)"
                for name, hint in zip(unknown, hints, strict=True)
            ]
        )
    return frozenset(names)


def _kinds(channels: frozenset[str] | None) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """What to ask of numerics and of waves; a code that the catalogue does not know may be either."""
    if channels is None:
        return None, None
    known = Catalogue.shipped()
    waves = frozenset(name for name in channels if is_wave(name) or name not in known)
    return frozenset(name for name in channels if not is_wave(name)), waves
