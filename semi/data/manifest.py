"""The table of utterances: loaded, checked as a whole, and every problem listed at once."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ManifestError
from ..formulas import guarded_table
from . import formats, headers, missing
from .alike import twins
from .checks import Problem, check_content, find_audio, listing, normalise_splits, parse_numbers
from .column_hints import find_split, spelled_out
from .config import DataConfig
from .headers import COLUMNS, NUMBER_COLUMNS, TEXT_COLUMNS
from .labels import read_labels
from .reading import Reading, odd_labels
from .row_ids import make_ids, note_of
from .tables import Table, read_table
from .times import end_by_duration, mistaken_unit, parse_times, whole_sounds
from .wording import WARNING, counted, nearest, setting, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .reviewed import Reviewed

TIMES = ("seconds", "start", "end")
GOLD = ("label", "split", "votes", "valence", "arousal")


@dataclass
class Manifest:
    """A checked table of utterances, one row each, and its class order."""

    table: (
        pd.DataFrame
    )  # N rows with COLUMNS and any extra columns untouched; None or NaN = missing
    classes: list[str]  # C labels in order
    path: str
    problems: list[Problem] = field(default_factory=list)  # empty after a successful load
    sha256: str = ""  # of the file's bytes; of all cells where a folder was read
    notes: list[str] = field(default_factory=list)  # what was decided while reading, in sentences
    reading: Reading = field(default_factory=lambda: Reading(""))  # what was understood, to print
    rows: Sequence[int] | np.ndarray = ()  # (N,) of the file, as messages count them
    reviewed: Reviewed | None = None  # what people said of its rows since

    def __len__(self) -> int:
        """Returns the number of utterances."""
        return len(self.table)

    def by_id(self) -> Manifest:
        """Returns the manifest with its rows sorted by id, code point by code point."""
        import numpy as np

        order = self.table["id"].to_numpy().astype(str).argsort(kind="stable")
        rows = np.asarray(self.rows)[order] if len(self.rows) else ()
        return replace(self, table=self.table.iloc[order].reset_index(drop=True), rows=rows)


def load_manifest(
    path: str | Path, config: DataConfig | None = None, *, gold: bool = True, sounds: bool = True
) -> Manifest:
    """Returns the checked table at `path`, or raises one ManifestError that lists every problem.

    Relative audio paths start from `config.audio_root`, else from the manifest's own folder; in the
    result they are absolute. The error carries the whole list as `error.problems`, and what was
    understood as `error.reading`. Without `gold` labels and splits are not read: what is wrong with
    them does not matter for prediction. Without `sounds` a file that is gone is no problem: who
    only looks at a finished run is told when they ask for it.
    """
    import pandas as pd

    config = config or DataConfig()
    path = Path(path).expanduser()
    root = formats.sound_root(path, config.audio_root)
    source, sha256 = _read(path, root)
    problems = [Problem(path.name, *fault) for fault in source.faults]
    if not len(source.frame) and not problems:
        raise ManifestError(f"{path.name}: a header but no rows; it needs one row an utterance")
    raw, header = _named(source, config, path.name, gold=gold)
    rows = pd.Series(source.rows, dtype=int)
    ignored = [] if gold else [n for n in raw if n in GOLD or n.lower().startswith("votes_")]
    raw = raw.drop(columns=ignored)

    table, bad = _columns(raw, config, rows, path.name, root, source, header.milliseconds)
    problems += [fault for fault in bad if sounds or not fault.is_missing_file]
    read = read_labels(raw, table, config, rows, path.name)
    table["label"], table["votes"] = read.label, read.votes
    problems += read.problems
    extra = [name for name in raw.columns if name not in table and name not in read.used]
    table = pd.concat([table[list(COLUMNS)], raw[extra]], axis=1)
    origin = {name: column for column, name in header.canonical.items()}
    added = end_by_duration(table, origin)
    problems += check_content(table, extra, rows, path.name, origin.get("id", ""))
    problems += mistaken_unit(table, origin, config, path.name)
    counts = Counter(read.label.dropna().tolist())
    made = [] if "id" in raw else note_of(table["id"].tolist(), table)
    notes = [*source.notes, *read.notes, *made, *added, *_odd(table, counts, origin, extra)]
    names = {n: header.canonical[n] for n in source.frame.columns if n in header.canonical}
    named = {column: name for column, name in names.items() if name not in ignored}
    ignored = [origin.get(name, name) for name in ignored]
    reading = Reading(
        str(path), source.kind, len(source.frame), len(source.frame) + source.refused,
        named, header.rivals if gold else {}, extra, ignored, header.milliseconds, counts,
        read.unlabelled, gold, notes,
    )  # fmt: skip
    if problems:
        raise _error(problems, reading)
    return Manifest(table, read.classes, str(path), [], sha256, notes, reading, rows.to_numpy())


def _read(path: Path, root: Path) -> tuple[Table, str]:
    """Returns the table at a path as it stands there, and its SHA-256."""
    source = formats.read(path, root)
    if source:
        return source, formats.digest(path, source)
    data = _read_bytes(path)
    return read_table(path, data), hashlib.sha256(data).hexdigest()


def _odd(
    table: pd.DataFrame, counts: Counter[str], origin: dict[str, str], extra: list[str]
) -> list[str]:
    """Returns warnings of what is odd about labels, sounds, and names that nearly agree.

    Args:
        table: the checked table.
        counts: label -> its rows.
        origin: canonical name -> header it came from.
        extra: columns that are carried along.
    """
    label = origin.get("label", "")
    several = table["votes"].notna()  # ties carry their labels as votes: these have some
    measured = table[["valence", "arousal"]].notna().to_numpy().any(1)
    measured = 0 if several.to_numpy().any() else int(measured.sum())
    odd = [WARNING + note for note in odd_labels(counts, label, measured) + _twins(table)]
    return [*whole_sounds(table, extra), *spelled_out(table, label, extra), *odd]


def _error(problems: list[Problem], reading: Reading) -> ManifestError:
    """Returns the one error of all problems; what concerns the whole file comes first."""
    problems = sorted(problems, key=lambda p: p.row or 0)
    error = ManifestError(listing(problems, reading.file))
    error.problems, error.reading = problems, reading
    return error


def _named(
    source: Table, config: DataConfig, file: str, *, gold: bool
) -> tuple[pd.DataFrame, headers.Header]:
    """Returns the table with its columns under their canonical names, and what was renamed."""
    raw = source.frame
    raw.columns = [missing.composed(str(name)) for name in raw.columns]
    names = list(raw.columns)
    header = headers.recognise(names, config.columns, file, gold=gold)
    if gold and "split" not in config.columns:
        find_split(raw, header)
    first = {n: str(raw[n].iloc[0]) for n in names} if len(raw) else {}
    unread = [n for n, name in header.canonical.items() if name in GOLD and not gold]
    headers.refuse_unknown(names, first, header, file, unread)
    if gold and (rivals := headers.equal_rivals(header)):
        listed = [f"'{shown(n, 40)}' ({_first_words(raw[n])})" for n in rivals]
        ways = [setting("data.columns", {"label": name}) for name in rivals]
        raise ManifestError(
            f"{file}: {counted(len(rivals), 'column')} could be the label, {' and '.join(listed)}; "
            "choose "
            "with " + " or ".join(ways)
        )
    rename = {name: f"{name}_in_file" for name in names if name in COLUMNS}  # not what it says
    rename |= header.canonical
    return raw.rename(columns=rename), header


def _first_words(column: pd.Series) -> str:
    """Returns the first few different cells of a column, for a message."""
    words = list(dict.fromkeys(str(cell) for cell in column.tolist()[:1000] if cell))
    return ", ".join(shown(word, 20) for word in words[:3]) + " ..." * (len(words) > 3)


def _columns(
    raw: pd.DataFrame, config: DataConfig, rows: pd.Series, file: str, root: Path, source: Table,
    milliseconds: list[str],
) -> tuple[pd.DataFrame, list[Problem]]:  # fmt: skip
    """Returns every column but label and votes, cleaned, and what is wrong in them."""
    import pandas as pd

    table, problems = pd.DataFrame(index=raw.index), []
    for name in TEXT_COLUMNS:
        spelled = missing.MISSING_TEXT if name == "text" else missing.MISSING
        if name == "label":
            spelled = spelled - {*config.classes, *config.label_map}
        cells = missing.clean(raw[name].tolist(), spelled) if name in raw else [None] * len(raw)
        table[name] = pd.Series(cells, dtype=object)
    for name in NUMBER_COLUMNS:
        parse = parse_times if name in TIMES else parse_numbers
        table[name], bad = parse(raw.get(name), name, rows, file, source.decimal_comma)
        if name in milliseconds:
            table[name] /= 1000
        problems += bad
    table["split"], bad = normalise_splits(table["split"], rows, file)
    problems += bad
    given = table["audio"]
    table["audio"], bad = find_audio(given, root, rows, file)
    problems += bad
    if "id" not in raw:
        table["id"] = pd.Series(make_ids(given.tolist(), table, source.frame), dtype=object)
    return table, problems


def _twins(table: pd.DataFrame) -> list[str]:
    """Returns a sentence about speakers and sessions that differ only in how they are written."""
    notes = []
    for column in ("speaker", "session"):
        pairs = twins(sorted(set(table[column].dropna())))
        if pairs:
            listed = ", ".join(f"'{shown(a, 40)}' and '{shown(b, 40)}'" for a, b in pairs[:3])
            notes.append(
                f"{column}s {listed}{' ...' * (len(pairs) > 3)} differ only in case, width or "
                "blanks and count as different; write them alike if they are one"
            )
    return notes


def write_manifest(table: pd.DataFrame, path: str | Path) -> None:
    """Writes `table` whole as CSV, Parquet or JSONL; audio beneath its folder becomes relative."""
    import json

    path = Path(path)
    folder = os.path.abspath(path.parent)
    table = table.copy()
    if "audio" in table:
        table["audio"] = [_relative(value, folder) for value in table["audio"].tolist()]
    if "votes" in table:
        table["votes"] = [
            json.dumps(v, ensure_ascii=False) if isinstance(v, dict) else None
            for v in table["votes"].tolist()
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        table.to_parquet(part, index=False)
    elif suffix in (".jsonl", ".ndjson"):
        table.to_json(part, orient="records", lines=True, force_ascii=False)
    elif suffix in (".csv", ".tsv"):
        guarded = guarded_table(table)  # what a spreadsheet would run is written as text
        guarded.to_csv(part, index=False, sep="\t" if suffix == ".tsv" else ",", encoding="utf-8")
    else:
        raise ManifestError(
            f"{path.name}: cannot write '{suffix}'; name it .csv, .tsv, .parquet or .jsonl"
        )
    with open(part, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(part, path)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = nearest(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ""
        where = "" if path.is_absolute() else f" in the current folder {os.getcwd()}"
        raise ManifestError(
            f"{shown(path, 200)}: no such manifest{where}{near}; correct the path "
            "(data.manifest), or call "
            "semi from the folder where it starts"
        ) from None
    except OSError as error:
        raise ManifestError(f"{shown(path, 200)}: cannot be read: {error.strerror}") from None


def _relative(value: object, folder: str) -> object:
    if isinstance(value, str) and os.path.isabs(value):
        inside = os.path.relpath(value, folder)
        return value if inside.startswith("..") else inside.replace(os.sep, "/")
    return value if isinstance(value, str) else None
