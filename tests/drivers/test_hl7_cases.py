from __future__ import annotations

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import Instant
from acquisition.model import json_line
from acquisition.stamping import Stamper
from tests.contracts.cases import Case, all_cases

CASES = [case for case in all_cases() if (case.folder / "expected.jsonl").exists() and case.folder.parent.name == "hl7"]


def lines_of(case: Case) -> list[str]:
    """What `replay --json` says of a case."""
    header, pieces = case.trace
    driver, stamper = case.build(), Stamper("monitor", Catalogue.shipped())
    driver.start(0)
    lines = []
    for piece in pieces:
        driver.receive(piece.data, piece.t_ns)
        instant = Instant(header.started_ns + piece.t_ns, piece.t_ns)
        lines += [json_line(each) for each in stamper.stamp(driver.take_emissions(), instant)]
        driver.stored(driver.take_keys())
    return lines


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_gives_the_observations_written_beside_it(case: Case) -> None:
    assert lines_of(case) == (case.folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()


def test_there_are_cases_with_observations_beside_them() -> None:
    assert len(CASES) >= 4
