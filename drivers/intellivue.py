"""Philips IntelliVue bedside monitors by data export: numerics and waves over UDP, or over the RS-232 (MIB) port.

Unverified on hardware. Source: that of `acquisition.wire.intellivue`; times and orders of the conversation are those of
PROTOCOLS.md sections 1.4, 1.6 and 1.7. Only polls, the answer to the MDS create event and the association itself are
ever sent: which waves the monitor prefers to send is asked and never set. Patient demographics are never asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar

from pydantic import Field

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile, Samples, TraceCut, WallTime
from acquisition.errors import ConfigError, WireError
from acquisition.model import EventKind, GapCause
from acquisition.wire.intellivue import association, framing, messages, polls, values
from acquisition.wire.intellivue.answers import Answer
from acquisition.wire.intellivue.association import TICK_NS, TICKS_PER_S, Kind
from acquisition.wire.intellivue.identity import Cut
from acquisition.wire.intellivue.naming import Names
from acquisition.wire.intellivue.objects import Objects
from acquisition.wire.intellivue.questions import ANSWER_NS, NS_PER_S, PACE_NS, Numbers, Question, Questions, Subject
from acquisition.wire.intellivue.streams import Ticks

FIRST_WAIT_NS = 2 * NS_PER_S
LAST_WAIT_NS = 30 * NS_PER_S
USUAL_PORT = 24105
BACKWARDS_TICKS = 60 * TICKS_PER_S
"""A running time this much earlier than the last one means that the monitor has started again."""


class Mode(StrEnum):
    """How the monitor is reached."""

    LAN = "lan"
    MIB = "mib"


class IntelliVueOptions(DriverOptions):
    """Settings of one monitor.

    Attributes:
        mode: `lan` for UDP, one message a datagram; `mib` for the RS-232 port.
        period_s: The poll period that is asked for; the monitor grants one.
        waves: Ask for waveforms too.
        channels: Code (`150037`), or an object's label and code (`P1/150017`), to channel, before the catalogue's own.
    """

    mode: Mode = Mode.LAN
    period_s: float = Field(1.0, ge=0.125, le=60)
    waves: bool = True
    channels: dict[str, str] = Field(default_factory=dict)


class Phase(Enum):
    """Where the conversation stands: waiting to try again, asked, accepted and perhaps polling."""

    WAITING = 0
    ASKED = 1
    ACCEPTED = 2


@dataclass(slots=True)
class Polling:
    """An association in use.

    Attributes:
        questions: What is asked.
        objects: What is known of those that answer.
    """

    questions: Questions
    objects: Objects


@dataclass(slots=True)
class Talk:
    """One association, or the wait for one; what an object was in it holds in no other.

    Attributes:
        until: When the phase ends, if nothing comes.
        heard: When the monitor last said something of use.
        period_ns: As granted; 0 if nothing is.
        granted: Bits of the extended poll profile, if the monitor told them.
    """

    phase: Phase
    until: int
    heard: int = 0
    period_ns: int = 0
    granted: int | None = None
    polling: Polling | None = None


class IntelliVueDriver(Driver):
    """Associates, polls, renews its polls, and associates again whenever the monitor has forgotten it.

    Raises:
        ConfigError: an option names a channel that does not exist.
    """

    Options: ClassVar[type[DriverOptions]] = IntelliVueOptions
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        settings = IntelliVueOptions.model_validate(options.model_dump())
        strangers = sorted(name for name in settings.channels.values() if name not in catalogue)
        if strangers:
            raise ConfigError([f"channels: {name!r} is not in the catalogue" for name in strangers])
        self.link_defaults = "baud=115200&bytesize=8&parity=none&stopbits=1&rtscts=false"
        self._mib = settings.mode is Mode.MIB
        self._wanted = round(settings.period_s * NS_PER_S)
        self._subjects = [each for each in Subject if settings.waves or each not in (Subject.WAVE_LIST, Subject.WAVES)]
        wished = association.NUMERICS | (association.WAVES if settings.waves else 0)
        self._request = association.request(round(settings.period_s * TICKS_PER_S), wished)
        self._deframer = framing.Deframer()
        self._names = Names(catalogue, settings.channels, self.told)
        self._numbers = Numbers()
        self._told_once: set[tuple[EventKind, str]] = set()
        self._wait = FIRST_WAIT_NS
        self._asked_at = 0
        self._talk = Talk(Phase.WAITING, 0)

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one answer to the next, as granted or else as asked for."""
        return self._talk.period_ns or self._wanted

    def may_send(self, frame: bytes) -> bool:
        """Polls, the answer to the MDS create event, and what begins and ends an association."""
        message = framing.unframe(frame) if self._mib else frame
        return message is not None and polls.is_listed(message, self._request)

    def trace_cut(self) -> TraceCut:
        """What nobody reads of a message is not written."""
        return Cut(mib=self._mib)

    # -- the link ----------------------------------------------------------------------------------------------------

    def on_start(self, now: int) -> None:
        """Nothing is known of an earlier association; if the monitor still holds one, it refuses for a while."""
        self._deframer.reset()
        self._wait = FIRST_WAIT_NS
        self._told_once.clear()
        self._associate(now)

    def on_stop(self, now: int) -> None:
        """Gives the association back, for a monitor takes one client at a time."""
        if self._talk.phase is not Phase.WAITING:
            self._use_rest(now)
            self._put(association.RELEASE if self._talk.phase is not Phase.ASKED else association.ABORT)
        self._talk = Talk(Phase.WAITING, now + LAST_WAIT_NS)
        self.call_me_at(None)

    def on_data(self, now: int) -> None:
        """Takes every whole message; on a LAN what has come is one."""
        if self._mib:
            payloads = self._deframer.take(self.buffer)
            lost = self._deframer.lost
            self.counters["bytes_noise"] += lost.pop("noise", 0)
            for reason in [reason for reason, count in lost.items() if count]:
                self.reject(reason, lost.pop(reason))
        else:
            payloads = [bytes(self.buffer)]
            self.buffer.clear()
        for payload in payloads:
            try:
                answer = association.read(payload)
                if answer is not None:
                    self._associated(answer, now)
                elif (message := messages.read(payload)) is not None:
                    self._take(message, now)
                else:
                    self.counters["ignored"] += 1
            except WireError as error:
                self.reject(str(error))
        self._wake(now)

    def on_timer(self, now: int) -> None:
        """Something is due, or overdue."""
        talk = self._talk
        if talk.phase is Phase.WAITING:
            if now >= talk.until:
                self._associate(now)
        elif talk.polling is None:
            if now >= talk.until:
                self.counters["timeout"] += 1
                self._give_up("the monitor does not answer", now, abort=True)
        elif now >= talk.heard + association.patience_ns(self.period_ns):
            self._give_up("the monitor has gone silent", now, abort=True)
        self._wake(now)

    def _put(self, message: bytes) -> None:
        self.send(framing.frame(message) if self._mib else message)

    def _wake(self, now: int) -> None:
        """Asks for what is due as far as the pace allows, and says when to be woken."""
        talk = self._talk
        if talk.polling is None:
            self.call_me_at(talk.until)
            return
        question = talk.polling.questions.next(now)
        if question is not None:
            self._put(question.frame)
        self.call_me_at(min(talk.polling.questions.wake, talk.heard + association.patience_ns(self.period_ns)))

    # -- the association ---------------------------------------------------------------------------------------------

    def _associate(self, now: int) -> None:
        self._talk = Talk(Phase.ASKED, now + ANSWER_NS)
        self._asked_at = now
        self._put(self._request)
        self.call_me_at(self._talk.until)

    def _associated(self, answer: association.Answer, now: int) -> None:
        phase = self._talk.phase
        if answer.kind is Kind.REQUEST:
            raise WireError("kind")
        if answer.kind is Kind.ACCEPT and phase is Phase.ASKED:
            self._talk = Talk(Phase.ACCEPTED, now + ANSWER_NS, now, answer.period_ticks * TICK_NS, answer.granted)
        elif answer.kind is Kind.REFUSE and phase is Phase.ASKED:
            self.counters["refused"] += 1
            self._give_up("the monitor refuses the association: another client may have it", now)
        elif answer.kind in (Kind.ABORT, Kind.DISCONNECT, Kind.FINISH) and phase is not Phase.WAITING:
            if answer.kind is Kind.FINISH:
                self._put(association.RELEASED)
            self.counters["ended"] += 1
            self._give_up("the monitor has ended the association", now)
        else:
            self.counters["unasked"] += 1

    def _give_up(self, why: str, now: int, *, abort: bool = False) -> None:
        """Waits, longer each time, before the next attempt; the reason is told once."""
        self._use_rest(now)
        if abort:
            self._put(association.ABORT)
        self._once(EventKind.LINK, why)
        self._talk = Talk(Phase.WAITING, now + self._wait)
        self._wait = min(2 * self._wait, LAST_WAIT_NS)

    def _begin(self, event: messages.Event, now: int) -> None:
        """The monitor is ready to be polled; its objects may have other handles than before."""
        talk = self._talk
        waves = talk.granted is None or bool(talk.granted & association.WAVES)
        questions = Questions(self.period_ns, self._numbers, self.counters, now + PACE_NS)
        questions.want((each for each in self._subjects if waves or each is not Subject.WAVES), now)
        objects = Objects(self._names, Ticks(event.relative, now), self.counters, self.reject, self.told)
        talk.polling = Polling(questions, objects)
        self._names.forget_objects()
        if not waves and Subject.WAVES in self._subjects:
            self._once(EventKind.STATE, "the monitor grants no waves")
        self.counters["associations"] += 1
        self.told(EventKind.LINK, f"associated; an answer every {self.period_ns / NS_PER_S:g} s")

    # -- what the monitor says ---------------------------------------------------------------------------------------

    def _take(self, message: messages.Message, now: int) -> None:
        talk = self._talk
        if isinstance(message, messages.Event):
            self._happened(message, now)
            return
        question = talk.polling.questions.of(message) if talk.polling is not None else None
        if talk.polling is None or question is None:
            self.reject("late")
            return
        talk.heard = now
        if isinstance(message, messages.Refusal):
            self.counters[f"refused_{message.error}"] += 1
            talk.polling.questions.refused(question, now)
            self._once(EventKind.STATE, f"the monitor refuses {_name(question.subject)}", error=message.error)
        elif isinstance(message, messages.WaveList):
            talk.polling.questions.heard(question, now)
            codes = [label & 0xFFFFFF for label in message.labels]
            text = f"waves that the monitor prefers to send: {codes or 'its own choice'}"
            self.told(EventKind.STATE, text, codes=codes)
        else:
            self._answered(message, question, talk.polling, now)

    def _happened(self, event: messages.Event, now: int) -> None:
        talk = self._talk
        self._identify(event.attributes)
        if event.event == polls.CONNECT_INDICATION:
            self._is_there(event, now)
        elif event.confirmed and talk.phase is Phase.ACCEPTED:
            talk.heard = now
            self._put(polls.created(event.invoke, event.relative))
            if talk.polling is None:
                self._begin(event, now)
        else:
            self.counters["unasked"] += 1

    def _is_there(self, event: messages.Event, now: int) -> None:
        """A monitor on the network says so; one that has started again knows nothing of us."""
        talk = self._talk
        self.counters["connect_indications"] += 1
        if messages.PROTOCOLS in event.attributes:
            port = messages.export_port(event.attributes[messages.PROTOCOLS])
            if port not in (None, USUAL_PORT):
                self._once(EventKind.STATE, f"the monitor exports data on UDP port {port}; the link must say so")
        if talk.phase is Phase.WAITING:
            talk.until = min(talk.until, max(now, self._asked_at + FIRST_WAIT_NS))
        elif talk.polling is not None and talk.polling.objects.ticks.ahead(event.relative) < -BACKWARDS_TICKS:
            self._give_up("the monitor has started again", now)

    def _answered(self, result: messages.Result, question: Question, polling: Polling, now: int) -> None:
        if question.subject.pushed:
            before = polling.questions.settle(question)
            if before is not None:
                self._use(before, before.answers.rest(), polling, now)
            done = question.answers.take(result)
            polling.questions.heard(question, now)
            self._wait = FIRST_WAIT_NS
            self._told_once -= {each for each in self._told_once if each[0] is EventKind.LINK}
            self._note(question, polling)
            self._use(question, done, polling, now)
            return
        for each in result.objects:
            if question.subject is Subject.PRODUCT:
                self._identify(each.attributes)
            else:
                polling.objects.learn_label(each)
        if result.last:
            polling.questions.heard(question, now)

    def _note(self, question: Question, polling: Polling) -> None:
        """Counts what was out of order; what never came is a gap."""
        answers = question.answers
        if question.subject is Subject.WAVES and (answers.missing or answers.noted["linked_incomplete"]):
            polling.objects.waves_were_lost()
        for _ in range(answers.noted.pop("late", 0)):
            self.reject("late")
        self.counters.update(answers.noted)
        answers.noted.clear()
        if answers.missing:
            missing, answers.missing = answers.missing, 0
            self.counters["answers_missing"] += missing
            name = _name(question.subject)
            text = f"{missing} answers with {name} never came"
            self.told(EventKind.GAP, text, cause=GapCause.BLOCKS_MISSING.value, channel=name, missing=missing)

    def _use_rest(self, now: int) -> None:
        """Answers whose last part never came."""
        polling = self._talk.polling
        if polling is None:
            return
        for question in polling.questions.open():
            self._use(question, question.answers.rest(), polling, now)

    def _use(self, question: Question, done: Iterable[Answer], polling: Polling, now: int) -> None:
        for answer in done:
            if question.subject is Subject.NUMERICS:
                given, states = polling.objects.numerics(answer, now)
                moment = answer[0].moment
                if given or states:
                    self.measured(given, states, None if moment is None else WallTime(*moment))
            else:
                for wave in polling.objects.waves(answer, now):
                    self.sampled(Samples(*wave))
        if polling.objects.unscaled:
            polling.objects.unscaled = False
            polling.questions.want_again(Subject.WAVES, now)

    # -- what else is told -------------------------------------------------------------------------------------------

    def _identify(self, attributes: Mapping[int, bytes]) -> None:
        try:
            model = values.texts(attributes.get(messages.SYSTEM_MODEL, b""))
            product = values.production(attributes.get(messages.PRODUCTION, b"\0\0\0\0"))
        except WireError:
            self.counters["identity_unreadable"] += 1
            return
        found = dict(zip(("make", "model"), model, strict=False))
        found |= {"serial": product.get(1, ""), "firmware": product.get(5) or product.get(4, "")}
        self.identity.update({name: text for name, text in found.items() if text})

    def _once(self, event: EventKind, text: str, **detail: object) -> None:
        """Tells something that would otherwise be told at every attempt; data make trouble with the link news again."""
        if (event, text) not in self._told_once:
            self._told_once.add((event, text))
            self.told(event, text, **detail)


def _name(subject: Subject) -> str:
    return subject.name.lower()
