"""Which question is due, which have been asked, and which one an answer belongs to, in one association.

Source: PROTOCOLS.md section 1.7. Numbers of questions go on from one association to the next, so that an answer out of
an earlier one fits none of this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from acquisition.wire.intellivue import messages, polls
from acquisition.wire.intellivue.answers import Answers
from acquisition.wire.intellivue.association import patience_ns

NS_PER_S = 1_000_000_000
ANSWER_NS = 5 * NS_PER_S
REFUSED_NS = 60 * NS_PER_S
RENEW_NS = (polls.PUSH_S - 60) * NS_PER_S
PACE_NS = 64_000_000
"""Four frames in 256 ms, which implementations in the field keep to (1.11)."""


class Subject(Enum):
    """What is asked: maker of the frame, object, attribute group; the wave list is no poll of objects."""

    PRODUCT = (polls.single, polls.MDS, polls.PRODUCT)
    LABELS = (polls.single, polls.NUMERICS, polls.LABELS)
    WAVE_LIST = None
    NUMERICS = (polls.extended, polls.NUMERICS, polls.VALUES)
    WAVES = (polls.extended, polls.WAVES, polls.EVERYTHING)

    @property
    def pushed(self) -> bool:
        """Whether one question has many answers."""
        return self in (Subject.NUMERICS, Subject.WAVES)


@dataclass(slots=True)
class Question:
    """Something that was asked.

    Attributes:
        sent: When.
        answers: To an extended poll, in order.
        heard: When an answer came last.
        before: The poll that this one renews, until this one is answered.
    """

    subject: Subject
    invoke: int
    poll: int
    sent: int
    answers: Answers
    heard: int | None = None
    before: Question | None = None

    @property
    def frame(self) -> bytes:
        """What is sent."""
        if self.subject.value is None:
            return polls.wave_list(self.invoke)
        make, kind, group = self.subject.value
        frame: bytes = make(self.invoke, self.poll, kind, group)
        return frame


@dataclass(slots=True)
class Numbers:
    """The last numbers that were given out."""

    invoke: int = 0
    poll: int = 0


@dataclass(slots=True)
class Questions:
    """The questions of one association.

    Attributes:
        period_ns: From one answer to an extended poll to the next.
        numbers: Shared by all associations.
        counters: Of the driver.
        paced: When the next question may leave.
    """

    period_ns: int
    numbers: Numbers
    counters: Counter[str]
    paced: int
    _due: dict[Subject, int] = field(default_factory=dict)
    _tries: Counter[Subject] = field(default_factory=Counter)
    _asked: dict[int, Question] = field(default_factory=dict)
    _current: dict[Subject, Question] = field(default_factory=dict)

    def want(self, subjects: Iterable[Subject], now: int) -> None:
        """These are to be asked, in this order."""
        self._due.update(dict.fromkeys(subjects, now))

    def want_again(self, subject: Subject, now: int) -> None:
        """What the last answers said is not enough; not asked too often."""
        if now - self._current[subject].sent >= 2 * ANSWER_NS:
            self._due[subject] = now

    @property
    def wake(self) -> int:
        """When the next question is due."""
        return max(min(self._due.values()), self.paced)

    def next(self, now: int) -> Question | None:
        """The question that is to be asked now, if any; it counts as asked."""
        subject = min(self._due, key=self._due.__getitem__)
        if self.wake > now:
            return None
        before = self._current.get(subject)
        if before is not None:
            self.settle(before)
            if before.heard is None or now - before.heard >= self._stall_ns:
                self.counters["timeout"] += 1
            if not subject.pushed:
                self._asked.pop(before.invoke, None)
        self.numbers.invoke = self.numbers.invoke % 0xFFFF + 1
        if subject.value is not None:
            self.numbers.poll = self.numbers.poll % 0xFFFF + 1
        answers = Answers(before.answers.latest if before else None)
        asked = Question(subject, self.numbers.invoke, self.numbers.poll, now, answers, before=before)
        self._current[subject] = self._asked[asked.invoke] = asked
        self._tries[subject] += 1
        self._due[subject] = now + min(ANSWER_NS * self._tries[subject], REFUSED_NS)
        self.paced = now + PACE_NS
        return asked

    def of(self, message: messages.Message) -> Question | None:
        """The question that a message answers; None if nothing of the kind was asked."""
        question = self._asked.get(message.invoke)
        if question is None or isinstance(message, messages.Event):
            return None
        if isinstance(message, messages.Refusal):
            return question
        asked = question.subject.value
        if isinstance(message, messages.WaveList):
            return question if asked is None else None
        fits = asked is not None and (message.poll, message.kind) == (question.poll, asked[1])
        return question if fits and question.subject.pushed == (message.sequence is not None) else None

    def heard(self, question: Question, now: int) -> None:
        """An answer has come: plans when to ask for the same again."""
        question.heard = now
        subject = question.subject
        if self._current[subject] is not question:
            return
        self._tries[subject] = 0
        if subject.pushed:
            self._due[subject] = min(question.sent + RENEW_NS, now + self._stall_ns)
        elif subject is Subject.PRODUCT:
            # It keeps the association alive as well.
            self._due[subject] = question.sent + patience_ns(self.period_ns) // 3
        else:
            self._due.pop(subject, None)

    def refused(self, question: Question, now: int) -> None:
        """The monitor does not answer this; it may later."""
        question.heard = now
        self._due[question.subject] = now + REFUSED_NS

    def settle(self, question: Question) -> Question | None:
        """The question renews another, which is over now; returns that one."""
        before, question.before = question.before, None
        if before is not None:
            self._asked.pop(before.invoke, None)
        return before

    def open(self) -> list[Question]:
        """Questions whose answers are still taken."""
        return list(self._asked.values())

    @property
    def _stall_ns(self) -> int:
        """A poll whose answers cease for this long is asked for again."""
        return max(ANSWER_NS, 5 * self.period_ns)
