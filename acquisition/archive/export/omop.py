"""Numerics as the table MEASUREMENT of the OMOP Common Data Model, version 5.4.

Source: OHDSI, "OMOP CDM v5.4", table MEASUREMENT. Concept ids are those of a vocabulary that is not ours to carry: they
are 0 here, "no matching concept", and `source_codes.csv` has what a site joins with its own CONCEPT table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acquisition.archive.export.others import Names, SmallTable
from acquisition.archive.export.request import Request
from acquisition.archive.export.side import Row, loinc, snomed
from acquisition.archive.export.stores import OneFile, Store, abandon
from acquisition.archive.extra import library
from acquisition.archive.resample import Buckets
from acquisition.catalogue import Catalogue, ChannelKind

COLUMNS = (
    "measurement_id", "person_id", "measurement_concept_id", "measurement_date", "measurement_datetime",
    "measurement_time", "measurement_type_concept_id", "operator_concept_id", "value_as_number",
    "value_as_concept_id", "unit_concept_id", "range_low", "range_high", "provider_id", "visit_occurrence_id",
    "visit_detail_id", "measurement_source_value", "measurement_source_concept_id", "unit_source_value",
    "unit_source_concept_id", "value_source_value", "measurement_event_id", "meas_event_field_concept_id",
)  # fmt: skip
_UNMAPPED = tuple(
    name for name in COLUMNS if name.startswith(("measurement_", "unit_")) and name.endswith("concept_id")
)
"""Needed by the table, or what a site fills in first."""
_TEXTS = {
    "measurement_date", "measurement_datetime", "measurement_time", "measurement_source_value", "unit_source_value",
    "value_source_value",
}  # fmt: skip
_LONGEST = 50
"""Characters of a source value."""
_NO_QUANTITY = (ChannelKind.ENUMERATION, ChannelKind.EVENT)


class OmopTable:
    """See `OtherTable`. A row is a bucket of a channel: its median, at the beginning of the bucket.

    Args:
        directory: Of the data set.
        request: What is wanted.
        store: Is told of the file.
    """

    name = "omop"

    def __init__(self, directory: Path, request: Request, store: Store) -> None:
        pa = self._pa = library("pyarrow", "--omop")
        figures = {"value_as_number": pa.float64(), "range_low": pa.float64(), "range_high": pa.float64()}
        schema = pa.schema(
            [(name, figures.get(name, pa.string() if name in _TEXTS else pa.int64())) for name in COLUMNS]
        )
        self._file = OneFile(directory, "omop/measurement.csv", schema, store)
        self._persons: dict[str, int] = {}
        self._sources: dict[tuple[str, str], str] = {}
        self._rows = 0

    def add(self, subject: str, buckets: Sequence[Buckets], names: Names) -> None:
        """See `OtherTable.add`."""
        person = self._persons.setdefault(subject, len(self._persons) + 1)
        for each in buckets:
            known = Catalogue.shipped().get(each.channel)
            if known is not None and known.kind in _NO_QUANTITY:
                continue
            key = each.device, each.channel
            self._sources[key] = names.get(key, each.channel)[:_LONGEST]
            self._write(person, each, self._sources[key])

    def close(self) -> None:
        """See `OtherTable.close`."""
        self._file.close()

    def abandon(self) -> None:
        """See `OtherTable.abandon`."""
        abandon(self._file)

    def tables(self) -> list[SmallTable]:
        """See `OtherTable.tables`."""
        persons = [(number, subject) for subject, number in self._persons.items()]
        codes: list[Row] = []
        for (_, channel), source in sorted(self._sources.items()):
            known = Catalogue.shipped().get(channel)
            words = [known.description, known.unit] if known else ["a code that the catalogue does not know", ""]
            coded = [("LOINC", code) for code in loinc(known)] + [("SNOMED", code) for code in snomed(known)]
            codes += [(source, *words, vocabulary, code) for vocabulary, code in coded or [("", "")]]
        heading = ("measurement_source_value", "description", "unit_source_value", "vocabulary_id", "concept_code")
        return [
            ("omop/person_ids.csv", ("person_id", "person_source_value"), persons),
            ("omop/source_codes.csv", heading, codes),
        ]

    def why_not(self, device: str, channel: str, *, wave: bool) -> str:
        """See `OtherTable.why_not`."""
        if (device, channel) in self._sources:
            return ""
        if wave:
            return "MEASUREMENT has no place for a wave"
        known = Catalogue.shipped().get(channel)
        if known is not None and known.kind in _NO_QUANTITY:
            return "its numbers are codes and no quantities"
        return "there is no number that is not bad"

    def _write(self, person: int, series: Buckets, source: str) -> None:
        pa, size = self._pa, len(series)
        times = series.start_ns.view("datetime64[ns]").astype("datetime64[s]").astype(str).tolist()
        columns: dict[str, Any] = {
            "measurement_id": self._rows + 1 + np.arange(size),
            "person_id": np.full(size, person),
            "measurement_date": [time[:10] for time in times],
            "measurement_datetime": [time.replace("T", " ") for time in times],
            "measurement_time": [time[11:] for time in times],
            "value_as_number": series.figures["median"],
            "measurement_source_value": [source] * size,
            "unit_source_value": [Catalogue.shipped().unit(series.channel)] * size,
        } | {name: np.zeros(size, np.int64) for name in _UNMAPPED}
        self._rows += size
        self._file.add(pa.table({name: columns.get(name, pa.nulls(size)) for name in COLUMNS}))
