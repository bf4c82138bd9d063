"""Files written whole: a temporary name beside the target, fsync, rename; readers of the same."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RunError, reading, writing
from .formulas import guarded_table, unguarded

if TYPE_CHECKING:
    import pandas
    import torch

TEMPORARY = ".tmp-"  # what a kill leaves behind starts with this; see sweep()

ANEW = "bring it back from a copy, or make it anew"
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path to write; renames it to `path` if the block ends without an error.

    RunError where the system does not let it be written: disk full, no right to, a folder.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def write_dir(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary folder; makes it `path` when the block ends without an error.

    An existing folder is refused (what is written stays as it is) unless `replace` is set.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise RunError(f"{path} is already written and is never changed")
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    old = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            for folder, _, names in os.walk(temporary, topdown=False):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            if path.exists():
                old = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-old-{path.name}")
                os.rename(path, old)
            os.rename(temporary, path)
            _sync(path.parent)
    except RunError as error:  # the reader knows only the name that was asked for
        raise RunError(str(error).replace(str(temporary), str(path))) from error.__cause__
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def sweep(folder: str | Path) -> int:
    """Removes what killed writers left anywhere below `folder`; returns how many entries."""
    found = [p for p in Path(folder).rglob(f"{TEMPORARY}*")]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON; arrays, tensors and dataclasses become lists and objects, NaN becomes null."""
    write_text(path, json.dumps(jsonable(value), ensure_ascii=False, indent=1) + "\n")


def read_json(path: str | Path, default: Any = None) -> Any:
    """Returns what a JSON file holds, or `default` when there is no such file."""
    try:
        with reading(path, "a JSON file", ANEW):
            return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pandas.DataFrame:
    """Returns a table that was written as Parquet or CSV; cells of a CSV stay text.

    RunError where it lacks one of `columns`.
    """
    table = _read_table(path)
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise RunError(f"{path} lacks the column {lacking[0]}; {ANEW}")
    return table


def _read_table(path: str | Path) -> pandas.DataFrame:
    import pandas as pd

    with reading(path, "a table", ANEW):
        if Path(path).suffix == ".parquet":
            return pd.read_parquet(path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in table.columns:
            if table[name].str.startswith("'").any():
                table[name] = table[name].map(unguarded)
        return table.rename(columns=unguarded)


def write_table(path: str | Path, table: pandas.DataFrame) -> None:
    """Writes a table without its index, as its name ends: one of TABLE_SUFFIXES.

    In .csv and .tsv texts that begin like a formula are guarded, see `semi.formulas`.
    """
    check_table(path)
    suffix = Path(path).suffix.lower()
    with replacing(path) as temporary:
        if suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            add_lines(temporary, table, suffix)


def add_lines(path: Path, table: pandas.DataFrame, suffix: str) -> None:
    """Adds the rows of a table to a file of lines, of a kind of TABLE_SUFFIXES, made if needed."""
    with open(path, "a", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            if len(table):  # pandas writes an empty line of no rows
                table.to_json(file, orient="records", lines=True, force_ascii=False)
        else:
            guarded_table(table).to_csv(
                file, index=False, header=not file.tell(), lineterminator="\n",
                sep=DELIMITERS[suffix],
            )  # fmt: skip


def check_table(path: str | Path) -> None:
    """Raises RunError where no table can be written, before the work that would fill it."""
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{path} is a folder; name the table to write, such as {path / 'out.csv'}")
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise RunError(f"{path}: cannot write '{path.suffix}'; name it {', '.join(TABLE_SUFFIXES)}")
    folder = next((p for p in path.absolute().parents if p.exists()), Path("/"))
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"{path} cannot be written: {folder} is no folder where you may write")


def write_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Writes named tensors as safetensors."""
    from safetensors.torch import save_file

    # save_file refuses tensors that share memory or are strided; a copy is neither
    copies = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replacing(path) as temporary:
        temporary.touch()
        usual = temporary.stat().st_mode  # save_file gives the file to its owner alone
        save_file(copies, temporary, metadata)
        temporary.chmod(usual)


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Returns the named tensors of a safetensors file, on the CPU."""
    from safetensors.torch import load_file

    with reading(path, "a safetensors file", ANEW):
        return load_file(path)


def jsonable(value: Any) -> Any:
    """Returns the value made of dict, list, str, int, finite float, bool and None only."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    to_list = getattr(value, "tolist", None)  # numpy arrays and scalars, tensors
    if to_list is not None:
        value = to_list()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [
            jsonable(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)
        ]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
