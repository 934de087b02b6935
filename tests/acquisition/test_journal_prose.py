"""Each sentence of the journal's design, at the top of its package, is proven by a test; this is the table."""

from __future__ import annotations

import ast
import asyncio
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from acquisition import journal
from acquisition.journal import Journal
from acquisition.journal.cursors import Cursors
from acquisition.journal.store import Store
from acquisition.lanes import Progress
from tests.acquisition.journal_observations import QUICK, T0, everything, numerics

TESTS = Path(__file__).parents[1]

TABLE = """
What was acknowledged is on the disk: journal the_future_resolves_only_after_the_transaction_that_holds_all_of_it_is_synced
What was acknowledged is on the disk: power_cut nothing_that_was_acknowledged_is_missing_after_a_power_cut
A block has one number: journal numbers_only_rise_across_day_files_and_restarts
A block has one number: journal_merge a_read_of_merged_blocks_is_that_of_the_blocks_as_they_were
A block has one number: journal_recover numbers_go_on_after_the_largest_ever_reserved_even_when_every_day_file_is_lost
What is read is what was appended: journal what_is_read_is_what_was_appended
What is read is what was appended: journal_codec every_float_comes_out_of_a_column_to_the_last_bit
A reader never waits for the writer: journal a_reader_never_waits_for_the_writer
A reader never waits for the writer: journal a_reader_never_makes_the_writer_wait
The journal is a directory with one SQLite file: journal there_is_one_sqlite_file_in_wal_mode_per_utc_day
A row is a block: journal_codec a_block_is_what_one_device_said_on_one_channel_or_in_numerics_or_in_events
Pieces of a waveform that continue: journal_codec pieces_of_a_waveform_that_continue_each_other_are_one_piece_when_read_again
A block carries a checksum: journal the_checksum_is_over_everything_else_in_the_row
The number of points up to and with it: journal_merge a_backlog_is_exact_at_any_number_of_a_merged_range
The number of points up to and with it: journal_ahead a_backlog_is_the_points_that_a_sink_does_not_have
A file sums up: journal_query a_file_sums_up_what_it_holds_and_what_is_newer_is_summed_by_reading
What finished days hold: journal_past neither_a_start_nor_a_status_opens_a_finished_day
What finished days hold: journal_past what_the_note_says_of_a_file_counts_only_while_it_is_that_file
Cursors, quarantine, runs: journal_prose cursors_quarantine_runs_and_the_mark_are_apart_from_the_readings
One thread writes: journal_prose one_thread_writes
One commit interval after the first append: journal a_group_is_all_that_gathered_in_an_interval_in_one_transaction
A group goes to the day: journal a_group_goes_to_the_day_of_its_newest_time
A group goes to the day: journal a_group_never_goes_to_an_older_file_than_the_last
An append never blocks: journal an_append_never_blocks
When too much waits for the disk: journal when_too_much_waits_for_the_disk_an_append_fails_at_once
When the disk refuses, the group: journal when_the_disk_refuses_the_group_fails_and_the_next_is_tried_again
When the disk refuses, the group: journal what_is_appended_before_its_callers_know_of_a_refusal_fails_too
When the disk refuses, the group: io_errors what_is_acknowledged_around_an_io_error_is_what_the_disk_holds
One observation that cannot be stored: journal one_observation_that_cannot_be_stored_fails_its_own_append_and_no_other
Keys of messages are stored: journal keys_of_messages_are_stored_in_the_transaction_of_their_readings
One process writes: journal one_process_writes_and_a_second_is_refused
Blocks that are still live: journal_merge blocks_that_are_still_live_are_not_merged_and_older_ones_are
Blocks that are still live: journal_merge a_reader_beside_a_merge_sees_either_the_blocks_before_or_those_after
A read of merged blocks: journal_merge a_read_of_merged_blocks_is_that_of_the_blocks_as_they_were
A read of merged blocks: journal_merge a_query_of_merged_blocks_is_that_of_the_blocks_as_they_were
Merging changes no count: journal_merge merging_changes_no_count
A damaged block is never merged: journal_merge a_damaged_block_is_never_merged
Damage inside of a merged row: journal_merge damage_inside_of_a_merged_row_costs_that_row_and_names_it
When the day changes: journal_merge when_the_day_changes_what_is_left_of_it_is_merged
When the day changes: journal_merge the_next_start_merges_what_a_crash_left_of_a_past_day
Pages of merged blocks: journal_merge pages_of_merged_blocks_are_used_again
A batch is whole blocks: journal a_batch_is_whole_blocks_in_the_order_of_seq_and_at_least_one
A query is in the order of time: journal_query a_query_is_in_the_order_of_time_within_a_device
A query is in the order of time: journal_query a_query_is_cut_to_the_asked_window
A row that fails its checksum: journal a_block_that_fails_its_checksum_is_skipped_and_reported
A row that fails its checksum: journal_damage a_flipped_bit_anywhere_is_never_read_as_a_reading
A sink has everything up to its cursor: journal_ahead what_was_delivered_ahead_survives_a_restart
Nothing is ever taken from what it has: journal_ahead nothing_is_ever_taken_from_what_a_sink_has
A cursor is kept without a sync: journal_prose a_cursor_is_kept_without_a_sync
What a sink rejected is kept: journal what_a_sink_rejected_is_kept_with_the_reason
What a sink rejected is kept: journal a_rejected_observation_is_written_no_later_than_the_cursor_that_passes_it
Below the quota nothing: journal_retention below_the_quota_nothing_is_deleted_that_a_sink_has_not_acknowledged
At the quota, days: journal_retention at_the_quota_the_oldest_waveforms_go_first_and_every_numeric_stays
At the quota, days: retention_plan delivered_days_go_before_waveforms_and_waveforms_before_numerics
At the quota, days: journal_retention when_no_waveform_is_left_whole_days_go_but_never_the_present_days_numerics
What goes is counted first: journal_retention without_a_sink_nobody_has_what_goes_at_the_quota
A past day is written anew: journal_retention a_file_that_a_power_cut_left_half_written_is_discarded_at_the_start
A past day is written anew: takes_place content_is_synced_before_the_name_and_the_name_before_anybody_relies_on_it
A past day is written anew: journal_retention space_in_the_present_days_file_is_used_again_and_the_file_grows_no_more
The journal opens always: journal_damage a_file_cut_short_keeps_what_is_before_the_cut
The journal opens always: journal_recover a_truncated_day_file_is_set_aside_and_its_readable_blocks_are_still_served
The journal opens always: damage_ends however_damaged_a_file_is_every_question_to_it_ends
So that they can be read: journal_damage a_first_page_that_is_noise_costs_nothing
So that they can be read: journal_damage a_flipped_bit_in_the_log_costs_no_group_behind_it
Where a tree is damaged: damage_tree a_tree_that_leads_past_blocks_costs_none_after_a_crash
Where a tree is damaged: damage_tree dropped_waveforms_do_not_come_back_from_pages_out_of_use
That is looked for: damage_tree a_past_day_with_a_damaged_tree_that_is_to_be_merged_is_mended
That is looked for: damage_tree purged_readings_do_not_come_back_from_behind_a_damaged_tree
What is missing by: damage_tree verify_names_what_a_tree_leads_past
What is missing by: damage_tree what_is_gone_beside_a_damaged_tree_is_named_at_the_start_and_by_verify
A start that is cut short: journal_mending what_was_set_aside_and_not_mended_when_the_power_went_is_mended_by_the_next_start
What a power cut leaves is never called damage: power_cut nothing_that_was_acknowledged_is_missing_after_a_power_cut
What a power cut leaves is never called damage: journal_damage a_last_transaction_that_was_torn_is_not_called_damage
Numbers go on after: journal_recover numbers_go_on_after_the_largest_ever_reserved_even_when_every_day_file_is_lost
Numbers go on after: journal_prose the_mark_and_the_runs_are_synced
A start knows how: journal_recover a_start_knows_how_the_run_before_it_ended
On a full disk a start: start_on_a_bad_disk a_journal_on_a_full_disk_opens_with_its_cursors_and_takes_readings_when_there_is_space
On a full disk a start: start_on_a_bad_disk a_journal_that_crashed_opens_on_a_full_disk_if_it_has_its_reserve_and_else_says_why_not
"""  # noqa: E501 - a table


def sentences() -> Iterator[str]:
    """Those below the first line, without the names of the paragraphs."""
    assert journal.__doc__ is not None
    for paragraph in journal.__doc__.split("\n\n")[1:]:
        text = re.sub(r"^\*\*\w+\.\*\* ", "", " ".join(paragraph.split()))
        yield from re.split(r"(?<=\.) (?=[A-Z])", text)


def table() -> list[tuple[str, str, str]]:
    rows = (row.rpartition(": ") for row in TABLE.strip().splitlines())
    return [(beginning, *place.split(" ", 1)) for beginning, _, place in rows]  # type: ignore[misc]  # two words each


@pytest.mark.parametrize("sentence", list(sentences()))
def test_each_sentence_has_a_test(sentence: str) -> None:
    assert [beginning for beginning, *_ in table() if sentence.startswith(beginning)], sentence


def test_each_row_of_the_table_is_of_one_sentence() -> None:
    for beginning, *_ in table():
        assert len([sentence for sentence in sentences() if sentence.startswith(beginning)]) == 1, beginning


@pytest.mark.parametrize(("module", "name"), sorted({(module, name) for _, module, name in table()}))
def test_each_row_of_the_table_names_a_test_that_exists(module: str, name: str) -> None:
    (path,) = (path for area in ("acquisition", "system") for path in TESTS.glob(f"{area}/test_{module}.py"))
    assert f"test_{name}" in defined_in(path)


@cache
def defined_in(path: Path) -> set[str]:
    """The functions of a module, each of which several sentences name."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


# -- what has no test elsewhere ----------------------------------------------------------------------------------------


async def test_cursors_quarantine_runs_and_the_mark_are_apart_from_the_readings(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as kept:
        await kept.append([numerics(T0)])
        kept.commit("central", Progress(kept.last_seq))
        kept.quarantine("central", numerics(T0), "no")
        kept.begin_run({"start_ns": T0})
    with closing(sqlite3.connect(tmp_path / "cursors.db")) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert {"cursor", "ahead", "quarantine", "run", "mark"} <= names
        counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("cursor", "quarantine")]
        assert counts == [1, 1]
    for path in tmp_path.glob("cursors.db*"):
        path.unlink()
    async with Journal(tmp_path, commit_interval_s=QUICK) as kept:
        assert await everything(kept) == [numerics(T0)]


async def test_one_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = set()
    write = Store.write

    def noted(self: Store, *arguments: Any) -> None:
        writers.add(threading.get_ident())
        write(self, *arguments)

    monkeypatch.setattr(Store, "write", noted)
    async with Journal(tmp_path, commit_interval_s=QUICK) as kept:
        for number in range(5):
            await kept.append([numerics(T0 + number)])
    assert len(writers) == 1
    assert threading.get_ident() not in writers


async def test_a_cursor_is_kept_without_a_sync(tmp_path: Path) -> None:
    async with Journal(tmp_path, commit_interval_s=QUICK) as kept:
        await kept.append([numerics(T0)])
        said: list[str] = []
        committed, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear(statement: str) -> None:
            said.append(statement)
            if statement == "COMMIT":
                loop.call_soon_threadsafe(committed.set)

        connection = kept._cursors._connection  # what it says to SQLite is what there is to see
        connection.set_trace_callback(hear)
        kept.commit("central", Progress(kept.last_seq))
        async with asyncio.timeout(30):
            await committed.wait()
        # Taking the callback off again would hang, if the writer's thread waits to call it just then.
        assert [each for each in said if "synchronous" in each] == ["PRAGMA synchronous=NORMAL"]
        assert any("INTO cursor" in each for each in said)


def test_the_mark_and_the_runs_are_synced(tmp_path: Path) -> None:
    cursors = Cursors(tmp_path)
    said: list[str] = []
    cursors._connection.set_trace_callback(said.append)
    for write in (partial(cursors.reserve, 7), partial(cursors.begin_run, {}), partial(cursors.end_run, 1)):
        cursors.set("central", Progress(len(said)))
        cursors.flush()
        said.clear()
        write()
        assert said[0] == "PRAGMA synchronous=FULL"
        assert said[-1] == "COMMIT"
    cursors.close()
