"""Readings and figures as Arrow tables, and as pandas or polars from there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from acquisition.archive.chunk import QUALITIES, STATES, Chunk
from acquisition.archive.extra import library
from acquisition.archive.resample import Buckets
from acquisition.catalogue import Catalogue

Kind = Literal["arrow", "pandas", "polars"]


def of_readings(chunks: Iterable[Chunk]) -> Any:
    """An Arrow table with `time` (UTC, nanoseconds), `device`, `channel`, `value`, `unit`, `state`, `quality`."""
    pa = library("pyarrow", "a table of readings")
    names = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("time", pa.timestamp("ns", "UTC")),
            ("device", names),
            ("channel", names),
            ("value", pa.float64()),
            ("unit", names),
            ("state", names),
            ("quality", names),
        ]
    )
    batches = []
    for chunk in chunks:
        state = np.zeros(len(chunk), np.int32) if chunk.state is None else chunk.state.astype(np.int32)
        columns = [
            pa.array(chunk.time_ns.view("datetime64[ns]"), pa.timestamp("ns", "UTC")),
            _constant(pa, chunk.device, len(chunk)),
            _constant(pa, chunk.channel, len(chunk)),
            pa.array(chunk.values, mask=np.isnan(chunk.values)),
            _constant(pa, Catalogue.shipped().unit(chunk.channel), len(chunk)),
            pa.DictionaryArray.from_arrays(pa.array(state - 1, mask=state == 0), pa.array(STATES[1:])),
            pa.DictionaryArray.from_arrays(pa.array(chunk.quality.astype(np.int32)), pa.array(QUALITIES)),
        ]
        batches.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(batches).unify_dictionaries() if batches else schema.empty_table()


def of_figures(parts: Iterable[Buckets], names: Iterable[str]) -> Any:
    """An Arrow table with `time`, `device`, `channel`, `unit` and a column for each figure."""
    pa = library("pyarrow", "a table of figures")
    text = pa.dictionary(pa.int32(), pa.string())
    columns = [("time", pa.timestamp("ns", "UTC")), ("device", text), ("channel", text), ("unit", text)]
    columns += [(name, pa.int64() if name == "count" else pa.float64()) for name in names]
    schema = pa.schema(columns)
    tables = [
        pa.Table.from_arrays(
            [
                pa.array(part.start_ns.view("datetime64[ns]"), pa.timestamp("ns", "UTC")),
                *(
                    _constant(pa, word, len(part))
                    for word in (part.device, part.channel, Catalogue.shipped().unit(part.channel))
                ),
                *(pa.array(figure) for figure in part.figures.values()),
            ],
            schema=schema,
        )
        for part in parts
    ]
    return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()


def turned(table: Any, kind: Kind) -> Any:
    """The table itself, or a pandas or polars frame of it.

    Raises:
        ConfigError: that library is not installed.
        ValueError: not one of the three.
    """
    if kind == "arrow":
        return table
    if kind == "pandas":
        library("pandas", "a pandas frame")
        return table.to_pandas()
    if kind == "polars":
        return library("polars", "a polars frame").from_arrow(table)
    raise ValueError(f"{kind!r}: use arrow, pandas or polars")


def _constant(pa: Any, word: str, size: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([word]))
