from __future__ import annotations

import pytest
from pydantic import ValidationError

from acquisition.catalogue import Catalogue
from acquisition.driver import REMEMBERED_KEYS, Driver, DriverOptions, Notice, Profile, Reading
from acquisition.errors import ForbiddenFrameError, WireError
from acquisition.model import EventKind, State


class Lines(Driver):
    """Takes `key=value` lines, asks with `?`, acknowledges with `ok <key>`, and gives up at `!`."""

    max_buffer = 32

    def on_start(self, now: int) -> None:
        self.send(b"?hello")
        self.call_me_at(now + 100)

    def on_data(self, now: int) -> None:
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            if line == b"!":
                self.fail("the device shouts")
            key, _, value = line.decode().partition("=")
            if self.acknowledge(key, f"ok {key}".encode()):
                self.measured({"ecmo_flow": float(value)})

    def on_timer(self, now: int) -> None:
        self.send(b"?more")

    def on_stop(self, now: int) -> None:
        self.send(b"?bye")

    def may_send(self, frame: bytes) -> bool:
        return frame.startswith((b"?", b"ok "))


@pytest.fixture
def driver() -> Lines:
    driver = Lines.build({}, Catalogue.shipped())
    driver.start(0)
    driver.take_frames()
    return driver


def test_a_reply_leaves_only_when_what_it_acknowledges_is_stored(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 1.0})]
    assert driver.take_keys() == ("a",)
    assert driver.take_frames() == []
    driver.stored(["a"])
    assert driver.take_frames() == [b"ok a"]


def test_what_was_taken_is_not_given_again(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.take_emissions()
    driver.take_keys()
    driver.stored(["a"])
    driver.take_frames()
    assert (driver.take_emissions(), driver.take_keys(), driver.take_frames()) == ([], (), [])


def test_replies_leave_in_the_order_in_which_the_journal_has_them(driver: Lines) -> None:
    driver.receive(b"a=1\nb=2\n", 1)
    driver.stored(["b"])
    driver.stored(["a"])
    assert driver.take_frames() == [b"ok b", b"ok a"]


def test_a_repetition_is_acknowledged_and_not_emitted_again(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.stored(["a"])
    driver.take_emissions()
    driver.take_keys()
    driver.take_frames()
    driver.receive(b"a=1\n", 2)
    assert driver.take_emissions() == []
    assert driver.counters["duplicate"] == 1
    driver.stored(driver.take_keys())
    assert driver.take_frames() == [b"ok a"]


def test_a_repetition_while_the_first_is_on_its_way_gets_its_own_reply_and_no_second_emission(driver: Lines) -> None:
    driver.receive(b"a=1\na=1\n", 1)
    assert len(driver.take_emissions()) == 1
    assert driver.take_keys() == ("a", "a")
    driver.stored(["a"])
    assert driver.take_frames() == [b"ok a", b"ok a"]


def test_what_the_journal_refused_is_not_acknowledged_and_is_new_when_it_comes_again(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.take_emissions()
    driver.failed(driver.take_keys())
    assert driver.take_frames() == []
    driver.receive(b"a=1\n", 2)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 1.0})]
    driver.stored(driver.take_keys())
    assert driver.take_frames() == [b"ok a"]


def test_after_a_reconnect_no_reply_of_the_old_link_is_sent(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.start(2)
    driver.take_frames()
    driver.stored(["a"])
    assert driver.take_frames() == []


def test_after_a_reconnect_a_message_on_its_way_to_the_journal_is_a_repetition(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.take_emissions()
    driver.start(2)
    driver.take_frames()
    driver.receive(b"a=1\n", 3)
    assert driver.take_emissions() == []
    driver.stored(["a"])
    assert driver.take_frames() == [b"ok a"]


def test_after_a_reconnect_a_message_that_then_failed_is_new(driver: Lines) -> None:
    driver.receive(b"a=1\n", 1)
    driver.start(2)
    driver.failed(["a"])
    driver.take_emissions()
    driver.receive(b"a=1\n", 3)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 1.0})]


def test_after_a_restart_of_the_service_the_journals_keys_are_repetitions(driver: Lines) -> None:
    driver.remember(["a"])
    driver.receive(b"a=1\nb=2\n", 1)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 2.0})]


def test_only_so_many_keys_are_remembered_and_the_one_met_longest_ago_goes_first(driver: Lines) -> None:
    driver.remember(["old", "met again"])
    driver.remember(f"k{number}" for number in range(REMEMBERED_KEYS - 2))
    driver.remember(["met again"])
    assert len(driver._stored) == REMEMBERED_KEYS
    driver.stored(["new", "newest"])
    assert len(driver._stored) == REMEMBERED_KEYS
    driver.receive(b"met again=1\n", 1)
    assert driver.take_emissions() == []
    driver.receive(b"old=1\n", 2)
    assert len(driver.take_emissions()) == 1


def test_messages_that_are_stored_or_failed_are_no_longer_held(driver: Lines) -> None:
    for number in range(50):
        driver.receive(f"{number}=1\n".encode(), number)
        (driver.stored if number % 2 else driver.failed)(driver.take_keys())
    assert driver._owed == {}


@pytest.mark.parametrize("frame", [b"set 5\n", b"", b"\x00"])
def test_a_frame_that_is_not_on_the_list_is_never_queued(driver: Lines, frame: bytes) -> None:
    sent = driver.counters["frames_sent"]
    with pytest.raises(ForbiddenFrameError, match="is not a read request"):
        driver.send(frame)
    assert driver.take_frames() == []
    assert driver.counters["frames_sent"] == sent


def test_a_forbidden_reply_is_refused_too(driver: Lines) -> None:
    driver.acknowledge("a", b"set 5\n")
    with pytest.raises(ForbiddenFrameError):
        driver.stored(["a"])
    assert driver.take_frames() == []


def test_a_buffer_that_grows_beyond_all_frames_is_dropped_and_counted(driver: Lines) -> None:
    driver.receive(b"x" * 32, 1)
    assert len(driver.buffer) == 32
    driver.receive(b"y", 2)
    assert len(driver.buffer) == 0
    assert driver.counters["rejected_oversized"] == 33
    assert driver.counters["frames_bad"] == 1
    driver.receive(b"a=1\n", 3)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 1.0})]


def test_many_frames_in_one_piece_are_not_oversized(driver: Lines) -> None:
    driver.receive(b"a=1\n" * 20, 1)
    assert driver.counters["rejected_oversized"] == 0
    assert driver.counters["bytes"] == 80


def test_a_tick_before_its_deadline_does_nothing(driver: Lines) -> None:
    assert driver.deadline == 100
    driver.tick(99)
    assert driver.take_frames() == []
    assert driver.deadline == 100


def test_a_tick_at_its_deadline_happens_once(driver: Lines) -> None:
    driver.tick(100)
    assert driver.take_frames() == [b"?more"]
    assert driver.deadline is None
    driver.tick(200)
    assert driver.take_frames() == []


def test_a_newer_wish_takes_the_place_of_the_older(driver: Lines) -> None:
    driver.call_me_at(50)
    assert driver.deadline == 50
    driver.call_me_at(None)
    driver.tick(10_000)
    assert driver.take_frames() == []


def test_starting_again_forgets_what_was_half_received_and_not_yet_sent(driver: Lines) -> None:
    driver.receive(b"a=", 1)
    driver.send(b"?stale")
    driver.call_me_at(5)
    driver.start(1000)
    assert driver.take_frames() == [b"?hello"]
    assert driver.deadline == 1100
    driver.receive(b"b=2\n", 1001)
    assert driver.take_emissions() == [Reading({"ecmo_flow": 2.0})]


def test_stopping_says_farewell(driver: Lines) -> None:
    driver.stop(7)
    assert driver.take_frames() == [b"?bye"]


def test_giving_up_is_a_wire_error(driver: Lines) -> None:
    with pytest.raises(WireError, match="the device shouts"):
        driver.receive(b"!\n", 1)


def test_emissions_come_in_the_order_in_which_they_were_made(driver: Lines) -> None:
    driver.told(EventKind.ALARM, "low flow", priority=1)
    driver.measured({}, {"spo2": State.NOT_CONNECTED})
    assert driver.take_emissions() == [
        Notice(EventKind.ALARM, "low flow", {"priority": 1}),
        Reading({}, {"spo2": State.NOT_CONNECTED}),
    ]


def test_bytes_that_are_skipped_are_counted_by_reason(driver: Lines) -> None:
    driver.receive(b"abcdef", 1)
    driver.skip(2)
    driver.skip(1, "echo")
    assert bytes(driver.buffer) == b"def"
    assert (driver.counters["bytes_noise"], driver.counters["bytes_echo"]) == (2, 1)


def test_an_option_that_the_driver_does_not_know_is_refused() -> None:
    with pytest.raises(ValidationError, match="speed"):
        Lines.build({"speed": 3}, Catalogue.shipped())


def test_options_and_profile_are_validated_and_the_profiles_line_is_the_links_default() -> None:
    class Options(DriverOptions):
        unit: int = 1

    class Profiled(Lines):
        ProfileType = Profile

    Profiled.Options = Options
    profile = {"name": "Blender", "source": "manual, 4.2", "link": "baud=57600"}
    driver = Profiled.build({"unit": 2}, Catalogue.shipped(), profile)
    assert driver.link_defaults == "baud=57600"
    with pytest.raises(ValidationError, match="source"):
        Profiled.build({}, Catalogue.shipped(), {"name": "Blender"})
    with pytest.raises(ValidationError, match="unit"):
        Profiled.build({"unit": "two"}, Catalogue.shipped(), profile)
