"""`datapackage.json`: what every file of a data set holds, as a Frictionless Data Package.

Source: Frictionless Data, "Data Package (v1)" and "Table Schema (v1)" specifications.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acquisition.archive.export.stores import Store

_TYPES = (("int", "integer"), ("uint", "integer"), ("double", "number"), ("float", "number"), ("timestamp", "datetime"))
_TOLD = {
    "subject": "study id, or its pseudonym",
    "time_h": "hours since the event that `times_since` names",
    "time_ns": "the same as a whole number of nanoseconds; where `times_since` is UTC, since 1970",
    "time": "UTC; whole days earlier where the data set is pseudonymous",
    "channel": "see codebook.csv",
    "device": "see devices.csv",
    "value": "empty where the device said a state and no number",
    "unit": "UCUM",
    "state": "what the device said beside or instead of a number",
    "quality": "good, suspect (outside plausible limits), bad (outside hard limits, or a state alone)",
    "expected": "readings due in the declared ECMO run at the stream's usual rate; empty where it has none",
    "received": "readings that came, in the run or not",
    "valid": "of them those that are not bad",
    "valid_fraction": "of the expected, how many came in the run and are not bad; no hour makes up for another",
    "cause": "what the bed's own events say of the silence; unknown where they say nothing",
    "ahead_s": "how far the device's clock was ahead of the host's",
}


def write_package(
    directory: Path, name: str, store: Store, plain: Mapping[str, Sequence[str]], about: Mapping[str, Any]
) -> None:
    """Writes it.

    Args:
        directory: Of the data set.
        name: Of the data set.
        store: What has written the large tables.
        plain: Names of CSV files to their columns.
        about: What else is said of the data set.

    Raises:
        OSError: the disk refuses.
    """
    resources: list[dict[str, Any]] = [
        {
            "name": table,
            "path": paths if len(paths) > 1 else paths[0],
            "format": paths[0].rpartition(".")[2],
            "schema": {"fields": [_field(field) for field in store.schemas[table]]},
        }
        for table, paths in store.files.items()
    ]
    resources += [
        {
            "name": path.removesuffix(".csv"),
            "path": path,
            "format": "csv",
            "encoding": "utf-8",
            "schema": {"fields": [_described({"name": column, "type": "any"}) for column in columns]},
        }
        for path, columns in plain.items()
    ]
    body = {"profile": "data-package", "name": name, **about, "resources": resources}
    (directory / "datapackage.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _field(field: Any) -> dict[str, str]:
    text = str(field.type)
    return _described(
        {"name": field.name, "type": next((told for start, told in _TYPES if text.startswith(start)), "string")}
    )


def _described(field: dict[str, str]) -> dict[str, str]:
    name = field["name"]
    return field | ({"description": _TOLD[name]} if name in _TOLD else {})
