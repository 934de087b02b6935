"""The options that `query`, `export` and `report` share: where readings are, which are meant, how they are named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from acquisition.archive.episodes.registry import Registry, registry_path
from acquisition.archive.export.pseudonyms import Pseudonyms, read_key
from acquisition.archive.export.request import Request
from acquisition.archive.influx import InfluxSource
from acquisition.archive.opened import Archive, registry_in
from acquisition.archive.question import checked_channels
from acquisition.archive.scope import Scope, told_withdrawn
from acquisition.archive.source import JournalSource
from acquisition.commands.journal import AnyConfigPath, JournalPath, journal_directory
from acquisition.errors import ConfigError
from acquisition.mistakes import nearest
from acquisition.sinks.influxdb_servers import Credentials

err = Console(stderr=True)

Subject = Annotated[str | None, typer.Option(help="Study id.")]


@dataclass(frozen=True)
class Place:
    """From where readings are read, and which of them.

    Raises:
        ConfigError: there is no such role.
    """

    config: AnyConfigPath = None
    journal: JournalPath = None
    influx: Annotated[str | None, typer.Option(help="InfluxDB to read, http(s)://host:port.")] = None
    database: Annotated[str, typer.Option(help="Its database, or what the bucket is mapped to.")] = "ecmo"
    user: Annotated[
        str | None,
        typer.Option(
            help="User there; the password, or without a user the token, is taken from ECMO_DAQ_INFLUX_SECRET."
        ),
    ] = None
    site: Annotated[
        str | None, typer.Option(help="Of this site only (InfluxDB); by default that of the configuration.")
    ] = None
    registry: Annotated[
        Path | None, typer.Option(help="Registry of episodes; by default the one beside the journal.")
    ] = None
    bed: Annotated[str | None, typer.Option(help="Name of a bed.")] = None
    channels: Annotated[str | None, typer.Option(help="Channel ids, separated by commas.")] = None
    from_: Annotated[str | None, typer.Option("--from", help="RFC 3339 with offset, included.")] = None
    to: Annotated[str | None, typer.Option(help="RFC 3339 with offset, excluded.")] = None
    role: Annotated[str, typer.Option(help="blinded, or unblinded to keep what tells of the study drug.")] = "blinded"

    def __post_init__(self) -> None:
        known("--role", self.role, ("blinded", "unblinded"))

    @property
    def unblinded(self) -> bool:
        """Whether what tells of the study drug may be shown."""
        return self.role == "unblinded"

    def whose(self, subject: object, what: str) -> None:
        """Refuses what names neither a subject nor a bed.

        Raises:
            ConfigError: nothing does.
        """
        if not subject and self.bed is None and self.config is None:
            raise ConfigError([f"give --subject, --bed or --config: whose {what} is it?"])

    def opened(self, subject: str | None) -> Archive:
        """The archive that the options name.

        A journal does not say whose it is: with a configuration it is that bed's, and without one `bed` tells.

        Raises:
            ConfigError: they name none or two, or the bed is not that of the configuration, or in no stay.
        """
        if self.influx is not None:
            if self.journal is not None:
                raise ConfigError(["give one of: --journal, --influx"])
            secret = os.environ.get("ECMO_DAQ_INFLUX_SECRET")
            site = self.site or self.about.get("site", {}).get("site")
            source = InfluxSource(self.influx, self.database, Credentials(self.user, secret), site)
            beside = None if self.config is None else registry_path(journal_directory(self.config, None))
            if place := self.registry or beside:
                return Archive(source, Registry.open(place))
            return Archive(source, Registry() if subject is None else registry_in(source))
        own = self.about.get("site", {}).get("bed")
        if self.bed is not None and own is not None and self.bed != own:
            raise ConfigError([f"--bed {self.bed}: not the bed of the configuration, {own}; a journal holds one bed"])
        directory = journal_directory(self.config, self.journal)
        whose = own or self.bed
        subjects = Registry.open(self.registry or registry_path(directory))
        beds = {each.bed for stay in subjects.stays() for each in stay.beds}
        if own is None and self.bed is not None and beds and self.bed not in beds:
            raise ConfigError([f"--bed {self.bed}: no subject of the registry was ever there{nearest(self.bed, beds)}"])
        return Archive(JournalSource(directory, whose), subjects, whose)

    def scope(self, archive: Archive, subject: str | None) -> Scope:
        """Whose readings, and when; says so where consent was withdrawn.

        Raises:
            ConfigError: nobody of that id, times without a zone, an empty range, beds that cannot be told apart.
        """
        scope = archive.scope(subject=subject, bed=self.bed, from_=self.from_, to=self.to)
        warn(told_withdrawn(scope.stay))
        return scope

    def wanted(self) -> frozenset[str] | None:
        """The channels; None: all.

        Raises:
            ConfigError: one is not known, or there is none.
        """
        if self.channels is None:
            return None
        names = [name.strip() for name in self.channels.split(",") if name.strip()]
        if not names:
            raise ConfigError(["--channels: no channel is named"])
        return checked_channels(names)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the configuration says; nothing without one.

        Raises:
            ConfigError: it is wrong.
        """
        if self.config is None:
            return {}
        from acquisition.config import load_config

        return load_config(self.config, for_sinks=False).model_dump(mode="json")


@dataclass(frozen=True)
class Naming:
    """Under which names and on which time line a run is told.

    Raises:
        ConfigError: something that cannot be meant.
    """

    times: Annotated[str, typer.Option(help="relative: hours since randomisation, or ECMO start; or utc.")] = "relative"
    pseudonymize: Annotated[
        Path | None, typer.Option(metavar="KEYFILE", help="New names by this key; made if there is no such file.")
    ] = None
    request: Annotated[str, typer.Option(help="Name of the data request: each has names of its own.")] = ""
    free_text: Annotated[bool, typer.Option("--free-text", help="Keep what people and devices wrote.")] = False

    def __post_init__(self) -> None:
        known("--times", self.times, ("relative", "utc"))
        if self.pseudonymize is not None and not self.request:
            raise ConfigError(["--pseudonymize: name the data request with --request, so that it has names of its own"])

    def asked(self, place: Place, out: Path, about: Mapping[str, Any], **more: Any) -> Request:
        """What is wanted.

        Args:
            place: Which readings.
            out: Where it is written to; the key must not lie in there.
            about: The configuration, or what is known of it.
            more: Other fields of the request.

        Raises:
            ConfigError: a channel is not known, or the file holds no key.
        """
        new = self.pseudonymize
        return Request(
            utc=self.times == "utc",
            free_text=self.free_text,
            unblinded=place.unblinded,
            pseudonyms=Pseudonyms() if new is None else Pseudonyms(read_key(new, out), self.request),
            channels=place.wanted(),
            about=about,
            **more,
        )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its parameters that are dataclasses as options, each beside the others."""
    groups: dict[str, type[Any]] = {}
    parameters: list[Parameter] = []
    for each in signature(command, eval_str=True).parameters.values():
        if is_dataclass(each.annotation) and isinstance(each.annotation, type):
            groups[each.name] = each.annotation
            parameters += signature(each.annotation, eval_str=True).parameters.values()
        else:
            parameters.append(each)

    @wraps(command)
    def run(**given: Any) -> None:
        made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        command(**made, **given)

    shown = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    run.__signature__ = signature(command).replace(parameters=shown)  # type: ignore[attr-defined]  # for typer
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def known(option: str, word: str, words: Iterable[str]) -> None:
    """Refuses a word that is none of these.

    Raises:
        ConfigError: it is not; the nearest is named.
    """
    if word not in (these := [str(each) for each in words]):
        raise ConfigError([f"{option} {word}{nearest(word, these)}"])


def warn(words: str) -> None:
    """Says what the answer has not, beside it."""
    if words:
        err.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)
