"""Arrow tables into files: Parquet in hive partitions, or CSV; each file is written as the data comes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from acquisition.archive.extra import library
from acquisition.archive.lines import harmless

ZSTD_LEVEL = 1
_PLAIN = {"time_ns": "DELTA_BINARY_PACKED", "time_h": "BYTE_STREAM_SPLIT"}


class Store(Protocol):
    """Takes pieces of tables in the order of subject, day and device."""

    files: dict[str, list[str]]
    schemas: dict[str, Any]

    def add(self, name: str, piece: Any, parts: Mapping[str, str]) -> None:
        """One more piece of a table.

        Args:
            name: Of the table.
            piece: Arrow table.
            parts: What its rows have in common: subject, day, channel, device.

        Raises:
            OSError: the disk refuses.
        """
        ...

    def close(self) -> None:
        """Ends every file that is open.

        Raises:
            OSError: the disk refuses.
        """
        ...


class ParquetStore:
    """`name/subject=S/day=D/channel=C/part-DEVICE.parquet`, zstd; without the columns that the path tells.

    Args:
        directory: Of the data set.
    """

    def __init__(self, directory: Path) -> None:
        self._parquet = library("pyarrow.parquet", "an export")
        self._directory = directory
        self._open: dict[str, Any] = {}
        self._begun: dict[str, int] = {}
        self._common: tuple[str, ...] = ()
        self.files: dict[str, list[str]] = {}
        self.schemas: dict[str, Any] = {}

    def add(self, name: str, piece: Any, parts: Mapping[str, str]) -> None:
        """See `Store.add`."""
        common = tuple(parts.get(key, "") for key in ("subject", "day", "device"))
        if common != self._common:
            self.close()
            self._common = common
        levels = [f"{key}={quote(parts[key], safe='')}" for key in ("subject", "day", "channel") if key in parts]
        stem = "/".join([name, *levels, f"part-{quote(parts.get('device', '0'), safe='')}"])
        path = f"{stem}.parquet"
        if path not in self._open:
            # A subject who was moved can have had a device of that name in two beds on one day.
            self._begun[stem] = self._begun.get(stem, 0) + 1
            file = path if self._begun[stem] == 1 else f"{stem}-{self._begun[stem]}.parquet"
            (self._directory / file).parent.mkdir(parents=True, exist_ok=True)
            self._open[path] = self._parquet.ParquetWriter(
                self._directory / file,
                piece.schema,
                compression="zstd",
                compression_level=ZSTD_LEVEL,
                write_statistics=[column for column in piece.schema.names if column.startswith("time")],
                use_dictionary=[column for column in piece.schema.names if column not in _PLAIN],
                column_encoding={column: _PLAIN[column] for column in piece.schema.names if column in _PLAIN},
            )
            self.files.setdefault(name, []).append(file)
            self.schemas.setdefault(name, piece.schema)
        self._open[path].write_table(piece)

    def close(self) -> None:
        """See `Store.close`."""
        while self._open:
            _, writer = self._open.popitem()
            writer.close()


class CsvStore:
    """`name.csv`, and `waves/SUBJECT/CHANNEL.csv`; what the path of Parquet tells stands in columns.

    Args:
        directory: Of the data set.
    """

    def __init__(self, directory: Path) -> None:
        self._pa = library("pyarrow", "an export")
        self._csv = library("pyarrow.csv", "an export")
        self._directory = directory
        self._open: dict[str, Any] = {}
        self.files: dict[str, list[str]] = {}
        self.schemas: dict[str, Any] = {}

    def add(self, name: str, piece: Any, parts: Mapping[str, str]) -> None:
        """See `Store.add`."""
        for key in reversed([key for key in ("subject", "channel") if key in parts]):
            column = self._pa.repeat(self._pa.scalar(parts[key]), piece.num_rows)
            piece = piece.add_column(0, self._pa.field(key, self._pa.string()), column)
        if "text" in piece.schema.names:
            words = self._pa.array([harmless(each) for each in piece.column("text").to_pylist()], self._pa.string())
            piece = piece.set_column(piece.schema.get_field_index("text"), "text", words)
        path = f"{name}.csv"
        if name == "waves":
            path = f"waves/{quote(parts['subject'], safe='')}/{quote(parts['channel'], safe='')}.csv"
        if path not in self._open:
            (self._directory / path).parent.mkdir(parents=True, exist_ok=True)
            file = (self._directory / path).open("wb")
            file.write((",".join(piece.schema.names) + "\n").encode())
            options = self._csv.WriteOptions(include_header=False, quoting_style="needed")
            self._open[path] = file, self._csv.CSVWriter(file, piece.schema, write_options=options)
            self.files.setdefault(name, []).append(path)
            self.schemas.setdefault(name, piece.schema)
        self._open[path][1].write_table(piece)

    def close(self) -> None:
        """See `Store.close`."""
        while self._open:
            _, (file, writer) = self._open.popitem()
            try:
                writer.close()
            finally:
                file.close()


class OneFile:
    """A table in one file of its own, CSV or Parquet by its name; begun when the first rows come.

    Args:
        directory: Of the data set.
        path: Of the file in it.
        schema: Arrow schema of the table.
        store: Is told of the file, so that the data package describes it.
    """

    def __init__(self, directory: Path, path: str, schema: Any, store: Store) -> None:
        self._path = path
        self._file = directory / path
        self._schema = schema
        self._store = store
        self.columns: list[str] = schema.names
        self._open: Any = None

    def add(self, table: Any) -> None:
        """More rows.

        Raises:
            OSError: the disk refuses.
        """
        if self._open is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._open = self._begun()
            name = self._path.rpartition("/")[2].partition(".")[0]
            self._store.files[name], self._store.schemas[name] = [self._path], self._schema
        self._open.write_table(table.cast(self._schema))

    def close(self) -> None:
        """Ends the file.

        Raises:
            OSError: the disk refuses.
        """
        if self._open is not None:
            opened, self._open = self._open, None
            opened.close()

    def _begun(self) -> Any:
        if self._path.endswith(".parquet"):
            return library("pyarrow.parquet", "an export").ParquetWriter(self._file, self._schema, compression="zstd")
        csv = library("pyarrow.csv", "an export")
        return csv.CSVWriter(self._file, self._schema)


class _Closable(Protocol):
    def close(self) -> None: ...


def abandon(opened: _Closable) -> None:
    """Closes what is open on a disk that has refused already."""
    for _ in range(2):
        with suppress(OSError):
            opened.close()
