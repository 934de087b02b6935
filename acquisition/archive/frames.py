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
        missing = np.isnan(chunk.values)
        device, channel, unit = _words(pa, chunk.device, chunk.channel, len(chunk))
        columns = [
            pa.array(chunk.time_ns.view("datetime64[ns]"), pa.timestamp("ns", "UTC")),
            device,
            channel,
            pa.array(chunk.values, mask=missing if missing.any() else None),
            unit,
            _states(pa, chunk),
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
                *_words(pa, part.device, part.channel, len(part)),
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


def _states(pa: Any, chunk: Chunk) -> Any:
    if chunk.state is None:
        return pa.nulls(len(chunk), pa.dictionary(pa.int32(), pa.string()))
    state = chunk.state.astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(state - 1, mask=state == 0), pa.array(STATES[1:]))


def _words(pa: Any, device: str, channel: str, size: int) -> list[Any]:
    """The columns device, channel and unit; one array of indices serves all three."""
    first = pa.array(np.zeros(size, np.int32))
    words = (device, channel, Catalogue.shipped().unit(channel))
    return [pa.DictionaryArray.from_arrays(first, pa.array([word])) for word in words]
