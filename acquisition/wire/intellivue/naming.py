"""Which channel a code of the monitor is, and that no two objects ever share one.

Source: PROTOCOLS.md sections 1.10 and 6: metrics are 2 * 65536 + term, units 4 * 65536 + unit (ISO/IEEE 11073-10101);
terms from F000 on are the vendor's own. Systolic, diastolic and mean of a pressure are the three terms after its wave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from acquisition.catalogue import Catalogue, Channel, ChannelKind
from acquisition.errors import UnitError
from acquisition.model import EventKind
from acquisition.units import MDC_UNITS, conversion

METRICS, UNITS = 2 << 16, 4 << 16
PRIVATE: Mapping[int, str] = {
    METRICS + 0xF0C4: "temp_core",  # of the bladder
    METRICS + 0xF100: "scvo2",
    METRICS + 0xF960: "rso2",
    METRICS + 0xF974: "ecmo_flow",  # of a heart-lung machine whose values the monitor shows
}
"""Terms of the vendor's own that the table of channels knows."""
RELEASE_NS = 60_000_000_000
"""After this long without a value, a channel is free for another object."""
MOST_NAMES = 256
MOST_PLANS = 4096
_FAMILY = ~3
"""A pressure's wave, systolic, diastolic and mean differ in the last two bits of their code only."""

Key = tuple[int, int]
"""An object: its context and its handle."""


class Plan(NamedTuple):
    """What is to be done with a code in a unit.

    Attributes:
        channel: Where its values go.
        code: The 11073 code.
        factor: value in the catalogue's unit = value as sent * factor + offset.
        offset: See `factor`.
        assumed: No unit came; the catalogue's is taken.
        family: Channels that must come from the same pressure line; 0 if it stands alone.
        alias: The catalogue knows the code as a second name only.
        problem: Why nothing can be done, as a counter's name.
    """

    channel: str = ""
    code: int = 0
    factor: float = 1.0
    offset: float = 0.0
    assumed: bool = False
    family: int = 0
    alias: bool = False
    problem: str = ""


class Tell(Protocol):
    """How it is told what could not be placed; `Driver.told` is one."""

    def __call__(self, event: EventKind, text: str, **detail: Any) -> None:
        """Tells it."""
        ...


class Names:
    """Gives each object's values a channel and keeps it for them; bounded.

    Args:
        catalogue: To map codes and convert units.
        channels: Code (`150037`), or label and code (`P1/150017`), to channel; before the catalogue's own.
        tell: Called once for each code, unit or object that cannot be placed.
    """

    def __init__(self, catalogue: Catalogue, channels: Mapping[str, str], tell: Tell) -> None:
        self.labelled = any("/" in name for name in channels)
        self._catalogue = catalogue
        self._channels = channels
        self._tell = tell
        self._plans: dict[tuple[int, int | None, bool, str], Plan] = {}
        self._units: dict[tuple[str, bool], int | None] = {}
        self._families: dict[int, tuple[int, int]] = {}
        self._owners: dict[tuple[str, bool], tuple[Key, int]] = {}
        self._told: set[tuple[object, ...]] = set()

    def forget_objects(self) -> None:
        """A new association may number its objects anew; which line is the arterial pressure stays as it was."""
        self._owners.clear()

    def plan(self, code: int, unit: int | None, label: str, *, wave: bool) -> Plan:
        """What to do with a code in a unit; a waveform's channel is never a numeric's."""
        key = (code, unit, wave, label if self.labelled else "")
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make(*key)
        return plan

    def claim(self, plan: Plan, unit: int | None, key: Key, now: int, *, wave: bool) -> Plan:
        """The plan for this object's values now: on a channel that is its own, or with a problem."""
        if plan.problem:
            return plan
        if plan.family:
            line, since = self._families.get(plan.family, (0, 0))
            if line not in (0, plan.code & _FAMILY) and now - since < RELEASE_NS:
                return self._beside(plan, unit, key, now, wave=wave)
            self._families[plan.family] = (plan.code & _FAMILY, now)
        if self._owns(plan.channel, key, now, wave=wave):
            return plan
        return self._beside(plan, unit, key, now, wave=wave)

    def _beside(self, plan: Plan, unit: int | None, key: Key, now: int, *, wave: bool) -> Plan:
        """Another line has the channel: the code itself is the name, if no other object has that too."""
        kept = self._unmapped(plan.code, unit, wave=wave)
        if kept.problem:
            return kept
        if kept.channel != plan.channel and self._owns(kept.channel, key, now, wave=wave):
            text = f"{plan.channel} is another line's already; code {plan.code} is kept as {kept.channel}"
            self._once(EventKind.STATE, text, channel=plan.channel, code=plan.code)
            return kept
        text = f"two objects both say {plan.code}; only the first is used: map them by label, as LABEL/{plan.code}"
        self._once(EventKind.REJECT, text, code=plan.code)
        return Plan(problem="second_object")

    def _owns(self, channel: str, key: Key, now: int, *, wave: bool) -> bool:
        owner = self._owners.get((channel, wave))
        if owner is not None and owner[0] != key and now - owner[1] < RELEASE_NS:
            return False
        self._owners[channel, wave] = (key, now)
        return True

    def _make(self, code: int, unit: int | None, wave: bool, label: str) -> Plan:
        configured = self._channels.get(f"{label}/{code}") or self._channels.get(str(code))
        channel = self._catalogue.get(configured or PRIVATE.get(code, ""))
        if channel is not None and (channel.kind is ChannelKind.WAVEFORM) is wave:
            return self._measured(Plan(channel.id, code), channel.unit, unit)
        channel = self._catalogue.of_monitor(code, wave=wave)
        if channel is None:
            return self._unmapped(code, unit, wave=wave)
        own = _code_of(channel)
        return self._measured(
            Plan(channel.id, code, family=own & _FAMILY if own else 0, alias=own != code), channel.unit, unit
        )

    def _unmapped(self, code: int, unit: int | None, *, wave: bool) -> Plan:
        name = f"mdc_{code}"
        if (name, wave) not in self._units:
            if len(self._units) >= MOST_NAMES:
                return Plan(problem="unmapped")
            text = f"code {code} has no channel of its own; kept as {name}"
            self._tell(EventKind.UNMAPPED, text, code=code, unit=_ucum(unit), private=code % 65536 >= 0xF000)
            self._units[name, wave] = unit
        # What has no unit in the catalogue stays in the unit that it first came in.
        first = self._units[name, wave]
        if first is None:
            self._units[name, wave] = first = unit
        return self._measured(Plan(name, code), _ucum(first), unit)

    def _measured(self, plan: Plan, target: str, unit: int | None) -> Plan:
        if unit is None:
            return plan._replace(assumed=target not in ("", "1"))
        try:
            factor, offset = conversion(_ucum(unit), target)
        except UnitError as error:
            self._once(EventKind.REJECT, f"{plan.channel}: {error}", channel=plan.channel, unit=_ucum(unit))
            return Plan(problem="unit")
        return plan._replace(factor=factor, offset=offset)

    def _once(self, event: EventKind, text: str, **detail: Any) -> None:
        key = (event, *detail.values())
        if key not in self._told and len(self._told) < MOST_NAMES:
            self._told.add(key)
            self._tell(event, text, **detail)


def _ucum(unit: int | None) -> str:
    """The UCUM unit of a unit code; the code itself where none is known; empty if none came."""
    return "" if unit is None else MDC_UNITS.get(UNITS + unit, f"mdc_{UNITS + unit}")


def _code_of(channel: Channel) -> int:
    return channel.mdc.code if channel.mdc else 0
