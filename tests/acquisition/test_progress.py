from __future__ import annotations

from acquisition.clock import NS
from acquisition.upkeep.progress import Progress


def test_a_part_that_gets_on_is_never_stuck() -> None:
    progress = Progress()
    for second in range(100):
        progress.saw("writer", second, second * NS, 5)
        assert progress.stuck(second * NS) == []


def test_a_part_that_stays_where_it_is_is_stuck_after_its_patience_and_named() -> None:
    progress = Progress()
    for second in range(7):
        progress.saw("writer", "same", second * NS, 5)
        progress.saw("other", second, second * NS, 5)
    assert progress.stuck(5 * NS) == []
    assert progress.stuck(6 * NS) == ["writer has made no progress for 6 s"]


def test_a_part_that_has_nothing_to_do_is_not_stuck_however_long() -> None:
    progress = Progress()
    progress.saw("forwarder", None, 0, 5)
    assert progress.stuck(10_000 * NS) == []


def test_a_part_that_gets_on_after_all_is_forgiven() -> None:
    progress = Progress()
    progress.saw("writer", 1, 0, 5)
    assert progress.stuck(9 * NS)
    progress.saw("writer", 2, 9 * NS, 5)
    assert progress.stuck(10 * NS) == []
