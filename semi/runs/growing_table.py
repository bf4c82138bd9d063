"""A table that is written part by part and appears whole; for more rows than memory should hold."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import writing
from ..files import TEMPORARY, add_lines, check_table, replacing

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def growing_table(path: str | Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yields what adds rows to the table at `path`, which is there when the block has ended well.

    Kinds and content are those of `semi.files.write_table`. All parts have the columns of the first
    one; RunError where the table cannot be written, and nothing is left of it then.
    """
    check_table(path)
    path = Path(path)
    part = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-part-{path.name}")
    suffix = path.suffix.lower()
    writer = _Parquet(part) if suffix == ".parquet" else _Lines(part, suffix)

    def add(table: pd.DataFrame) -> None:
        with writing(path):
            part.parent.mkdir(parents=True, exist_ok=True)
            writer.add(table)

    try:
        yield add
        with replacing(path) as whole:
            writer.close()
            part.replace(whole)
    finally:
        with suppress(Exception):  # what went wrong is said, not that the rest did too
            writer.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _Lines:
    """CSV, TSV or JSONL."""

    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self.suffix = path, suffix

    def add(self, table: pd.DataFrame) -> None:
        add_lines(self.path, table, self.suffix)

    def close(self) -> None:
        """Does nothing: each part is closed by itself."""


class _Parquet:
    """Parquet, a group of rows a part; what is empty in the first part counts as text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: Any = None

    def add(self, table: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.writer is None:
            schema = pa.Schema.from_pandas(table, preserve_index=False)
            for i, field in enumerate(schema):
                if pa.types.is_null(field.type):
                    schema = schema.set(i, field.with_type(pa.large_string()))
            self.writer = pq.ParquetWriter(self.path, schema)
        schema = self.writer.schema
        self.writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))

    def close(self) -> None:
        """Writes what stands at the end of the file."""
        if self.writer is not None:
            self.writer.close()
