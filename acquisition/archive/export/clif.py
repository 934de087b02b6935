"""Pump, flow and gas as the table `ecmo_mcs` of CLIF; what becomes of which channel stands in `config/clif.toml`."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from acquisition.archive.export.others import Names, SmallTable, by_series
from acquisition.archive.export.request import Format, Request
from acquisition.archive.export.stores import OneFile, Store, abandon
from acquisition.archive.extra import library
from acquisition.archive.resample import Buckets
from acquisition.catalogue import shipped_config


class _Column(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str
    factor: float = 1.0


class Mapping(BaseModel):
    """What `config/clif.toml` says.

    Attributes:
        version: Of CLIF.
        mcs_group: Of every row.
        device_metric_name: What `device_rate` is.
        device_categories: What may be asked for.
        console: Column to channel of the device that a row is about.
        gas: Column to channel that may be another device's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    mcs_group: str
    device_metric_name: str
    device_categories: tuple[str, ...]
    console: dict[str, _Column]
    gas: dict[str, _Column]

    @classmethod
    @cache
    def shipped(cls) -> Mapping:
        """The one that comes with the product."""
        return cls.model_validate(tomllib.loads((shipped_config() / "clif.toml").read_text(encoding="utf-8")))


class ClifTable:
    """See `OtherTable`. A row is a bucket of a console: medians, at the beginning of the bucket.

    Args:
        directory: Of the data set.
        request: What is wanted; `clif` is the device category.
        store: Is told of the file.
    """

    name = "clif"

    def __init__(self, directory: Path, request: Request, store: Store) -> None:
        self._pa = library("pyarrow", "--clif")
        self._request = request
        self._mapping = Mapping.shipped()
        self._plain = request.format is not Format.PARQUET
        text, figure = self._pa.string(), self._pa.float64()
        time = text if self._plain else self._pa.timestamp("us", "UTC")
        schema = self._pa.schema(
            [("hospitalization_id", text), ("recorded_dttm", time), ("device_name", text), ("device_category", text),
             ("mcs_group", text), ("device_metric_name", text), ("device_rate", figure), ("sweep", figure),
             ("flow", figure), ("fdO2", figure)]
        )  # fmt: skip
        self._file = OneFile(directory, f"clif/clif_ecmo_mcs.{'csv' if self._plain else 'parquet'}", schema, store)
        self._used: set[tuple[str, str]] = set()
        self._shared: set[tuple[str, str]] = set()

    def add(self, subject: str, buckets: Sequence[Buckets], names: Names) -> None:
        """See `OtherTable.add`."""
        series = by_series(buckets)
        givers: defaultdict[str, list[str]] = defaultdict(list)
        for device, channel in series:
            givers[channel].append(device)
        console = {column.channel for column in self._mapping.console.values()}
        for device in sorted({device for device, channel in series if channel in console}):
            found = {name: (series.get((device, each.channel)), each) for name, each in self._mapping.console.items()}
            for name, each in self._mapping.gas.items():
                others = givers[each.channel]
                giver = device if device in others else others[0] if len(others) == 1 else None
                found[name] = None if giver is None else series[giver, each.channel], each
                self._shared.update((other, each.channel) for other in others if giver is None)
            self._write(subject, device, found)

    def close(self) -> None:
        """See `OtherTable.close`."""
        self._file.close()

    def abandon(self) -> None:
        """See `OtherTable.abandon`."""
        abandon(self._file)

    def tables(self) -> list[SmallTable]:
        """See `OtherTable.tables`."""
        return []

    def why_not(self, device: str, channel: str, *, wave: bool) -> str:
        """See `OtherTable.why_not`."""
        if (device, channel) in self._used:
            return ""
        if (device, channel) in self._shared:
            return "more than one device gives it, and none of them is the console"
        known = {each.channel for each in (*self._mapping.console.values(), *self._mapping.gas.values())}
        return "no console gives flow or speed beside it" if channel in known else "ecmo_mcs has no column for it"

    def _write(self, subject: str, device: str, found: dict[str, tuple[Buckets | None, _Column]]) -> None:
        given = [series for series, _ in found.values() if series is not None]
        starts = np.unique(np.concatenate([series.start_ns for series in given]))
        self._used.update((series.device, series.channel) for series in given)
        pa, size = self._pa, starts.size
        words = {
            "hospitalization_id": subject,
            "device_name": self._request.pseudonyms.device(device),
            "device_category": self._request.clif,
            "mcs_group": self._mapping.mcs_group,
            "device_metric_name": self._mapping.device_metric_name,
        }
        columns: dict[str, Any] = {name: pa.array([word] * size, pa.string()) for name, word in words.items()}
        columns["recorded_dttm"] = self._times(starts)
        for name, (series, column) in found.items():
            values = np.full(size, np.nan)
            if series is not None:
                values[np.searchsorted(starts, series.start_ns)] = series.figures["median"] * column.factor
            columns[name] = pa.array(values, mask=np.isnan(values))
        self._file.add(pa.table({name: columns[name] for name in self._file.columns}))

    def _times(self, starts: NDArray[np.int64]) -> Any:
        seconds = starts.view("datetime64[ns]").astype("datetime64[s]")
        if self._plain:
            return self._pa.array([f"{text.replace('T', ' ')}+00:00" for text in seconds.astype(str).tolist()])
        return self._pa.array(seconds.astype("datetime64[us]"), self._pa.timestamp("us", "UTC"))
