"""Files that still parse and hold something else: another entry, column or array."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

VALUES = (None, "x", "", 7, -1, [], {}, True, 0.5, [1], {"a": 1}, ["x"], 1e400, [[["x"]]], 10**30)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yields the path of every entry of a JSON; of a list only the first and the last one."""
    if isinstance(value, dict):
        keys = list(value)
    else:
        keys = sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def other_json(path: Path, chance: random.Random) -> None:
    value = json.loads(path.read_text())
    at = chance.choice([(), *places(value)] if chance.random() < 0.1 else list(places(value)))
    if not at:
        path.write_text(json.dumps(chance.choice(VALUES)))
        return
    parent = value
    for key in at[:-1]:
        parent = parent[key]
    if chance.random() < 0.3:
        del parent[at[-1]]
    else:
        parent[at[-1]] = chance.choice(VALUES)
    path.write_text(json.dumps(value))


def other_table(path: Path, chance: random.Random) -> None:
    parquet = path.suffix == ".parquet"
    table = pd.read_parquet(path) if parquet else pd.read_csv(path, dtype=str)
    name = chance.choice([str(c) for c in table.columns])
    changes: dict[str, Callable[[], pd.DataFrame]] = {
        "gone": lambda: table.drop(columns=name),
        "text": lambda: table.assign(**{name: "x"}),
        "none": lambda: table.assign(**{name: None}),
        "number": lambda: table.assign(**{name: 3.5}),
        "renamed": lambda: table.rename(columns={name: "other"}),
        "no rows": lambda: table.iloc[:0],
        "half": lambda: table.iloc[: len(table) // 2],
        "twice": lambda: pd.concat([table, table]),
    }
    changed = changes[chance.choice(list(changes))]()
    changed.to_parquet(path, index=False) if parquet else changed.to_csv(path, index=False)


def other_arrays(path: Path, chance: random.Random) -> None:
    from safetensors.numpy import load_file, save_file

    arrays: dict[str, Any] = dict(load_file(path))
    if not arrays:
        return
    name = chance.choice(sorted(arrays))
    value = arrays[name]
    changes: dict[str, Callable[[], Any]] = {
        "gone": lambda: None,
        "a row less": lambda: value[1:] if value.ndim else value[None],
        "a column less": lambda: value[..., 1:] if value.ndim else value[None],
        "flat": lambda: value.ravel(),
        "whole": lambda: np.nan_to_num(value).astype(np.int64),
        "doubled": lambda: value.astype(np.float64),
        "nothing": lambda: np.zeros(0, value.dtype),
        "no numbers": lambda: np.full(value.shape, np.nan, np.float32),
        "beyond": lambda: np.full(value.shape, 99).astype(value.dtype),
        "turned": lambda: np.ascontiguousarray(np.swapaxes(value, 0, -1)) if value.ndim else value,
    }
    changed = changes[chance.choice(list(changes))]()
    arrays = {k: v for k, v in arrays.items() if k != name or changed is not None}
    if changed is not None:
        arrays[name] = changed
    save_file(arrays, path)


OTHERS: dict[str, Callable[[Path, random.Random], None]] = {
    ".json": other_json, ".csv": other_table, ".parquet": other_table,
    ".safetensors": other_arrays,
}  # fmt: skip
