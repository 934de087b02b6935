"""What each kind of entry says: its fields, and what may stand in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.model import Consent
from acquisition.archive.episodes.rules import (
    CONFIGURATIONS,
    COVARIATES,
    RUN_EVENTS,
    RUN_REASONS,
    echo_mistakes,
    key_mistake,
    text_mistake,
)
from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.mistakes import mistakes_in, nearest

_EARLIEST_NS = 946_684_800 * NS
"""2000-01-01: no reading here is older, so an earlier time is a slip."""


def _text(text: str) -> str:
    mistake = text_mistake(text)
    if mistake is not None:
        raise ValueError(f"the text is refused: {mistake}")
    return text


def _one_of(words: Iterable[str]) -> AfterValidator:
    known = tuple(words)

    def check(word: str) -> str:
        if word and word not in known:
            raise ValueError(f"{word!r} is not known{nearest(word, known)}")
        return word

    return AfterValidator(check)


Text = Annotated[str, Field(max_length=2000), AfterValidator(_text)]
Time = Annotated[int, Field(ge=_EARLIEST_NS, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Data(BaseModel):
    """Of any entry: why it was made, in a person's words."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    reason: Text = ""


class BedData(Data):
    """A subject comes into a bed."""

    from_ns: Time
    bed: Name
    devices: tuple[Name, ...] = ()


class EndData(Data):
    """The stay is over."""

    to_ns: Time


class RunStartData(Data):
    """Cannulation."""

    from_ns: Time
    configuration: Annotated[str, _one_of(CONFIGURATIONS)] = ""
    elsewhere: bool = False


class RunStopData(Data):
    """The cannulas are out."""

    to_ns: Time
    why: Annotated[str, _one_of(RUN_REASONS)] = ""


class RunEventData(Data):
    """Something was done to the circuit; the run goes on."""

    time_ns: Time
    what: Annotated[str, Field(min_length=1), _one_of(RUN_EVENTS)]


class RandomiseData(Data):
    """Randomisation; never the arm."""

    time_ns: Time


class ConsentData(Data):
    """A state of consent begins."""

    from_ns: Time
    state: Consent


class _CovariateData(Data):
    name: Annotated[str, _one_of(COVARIATES)]
    value: str = "yes"

    @model_validator(mode="after")
    def _known(self) -> _CovariateData:
        known = COVARIATES.get(self.name, ())
        if self.value not in known:
            raise ValueError(f"{self.name} {self.value!r} is not known{nearest(self.value, known)}")
        return self


class CovariateStartData(_CovariateData):
    """A covariate begins to be so."""

    from_ns: Time


class CovariateStopData(_CovariateData):
    """A covariate is no longer so."""

    to_ns: Time


class EchoData(Data):
    """Measured values; the time is that of the measurement."""

    time_ns: Time
    uncertainty_ns: Annotated[int, Field(ge=0, le=86_400 * NS)]
    values: dict[str, float]
    snapshot: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _possible(self) -> EchoData:
        mistakes = echo_mistakes(self.values, Catalogue.shipped())
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class NoteData(Data):
    """Free text."""

    time_ns: Time
    text: Annotated[Text, Field(min_length=1)]


class AmendData(Data):
    """A correction: what is changed, and what stood there before; or that the entry should never have been."""

    entry: int
    void: bool
    changes: dict[str, Any]
    earlier: dict[str, Any]

    @field_validator("reason")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a correction needs a reason; give --reason")
        return value


class PurgeData(Data):
    """A tombstone: what was deleted, on what ground, how much, and the hashes of what it was."""

    ground: Literal["withdrawn", "opposed", "no_consent", "other"]
    intervals: list[dict[str, Any]]
    journal: list[dict[str, Any]]
    influx: list[dict[str, Any]]
    entries: list[int]


MODELS: Mapping[Action, type[Data]] = {
    Action.START: BedData,
    Action.TRANSFER: BedData,
    Action.STOP: EndData,
    Action.RUN_START: RunStartData,
    Action.RUN_STOP: RunStopData,
    Action.RUN_EVENT: RunEventData,
    Action.RANDOMISE: RandomiseData,
    Action.CONSENT: ConsentData,
    Action.COVARIATE_START: CovariateStartData,
    Action.COVARIATE_STOP: CovariateStopData,
    Action.ECHO: EchoData,
    Action.NOTE: NoteData,
    Action.AMEND: AmendData,
    Action.PURGE: PurgeData,
}


def validated(action: Action, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The data as it is to be stored, JSON values, and every mistake in it."""
    never = [mistake for key in data if (mistake := key_mistake(key)) is not None]
    if never:
        return {}, never
    model = MODELS[action]
    try:
        return model.model_validate(data).model_dump(mode="json"), []
    except ValidationError as error:
        return {}, [str(mistake).removeprefix("value error, ") for mistake in mistakes_in(error, model)]
