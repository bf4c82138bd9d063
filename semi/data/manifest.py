"""The table of utterances: loaded, checked as a whole, and every problem listed at once."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ManifestError, nearest
from . import formats
from .checks import Problem, check_content, find_audio, listing, normalise_splits, parse_numbers
from .config import DataConfig
from .labels import read_labels
from .tables import read_table

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "dev", "test", "unlabeled")
TEXT_COLUMNS = ("id", "audio", "text", "label", "speaker", "session", "dialogue", "split")
TEXT_COLUMNS += ("language",)
NUMBER_COLUMNS = ("valence", "arousal", "seconds", "start", "end")
COLUMNS = (*TEXT_COLUMNS[:9], "valence", "arousal", "votes", "seconds", "start", "end")
ALIASES = {  # canonical name -> other headers, compared in lower case with '_' for blanks and '-'
    "id": ("utterance_id", "utt_id", "utt", "segment_id", "sample_id", "name"),
    "audio": (
        *("path", "wav", "file", "filename", "file_name", "audio_path", "wav_path", "audio_file"),
        *("filepath", "file_path"),
    ),
    "text": ("transcript", "transcription", "sentence", "utterance"),
    "label": ("emotion", "category", "class"),
    "speaker": ("speaker_id", "spk", "spk_id", "actor"),
    "session": ("session_id",),
    "dialogue": ("dialogue_id", "dialog", "dialog_id", "conversation", "conversation_id"),
    "split": ("subset", "partition"),
    "language": ("lang",),
    "valence": (),
    "arousal": ("activation",),
    "votes": ("ratings",),
    "seconds": ("duration", "duration_seconds", "length_seconds"),
    "start": ("start_seconds",),
    "end": ("end_seconds",),
}
GOLD = ("label", "split", "votes", "valence", "arousal")
NOTHING = ("", "nan", "NaN", "<NA>", "N/A", "n/a", "null", "NULL", "None")


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

    def __len__(self) -> int:
        """Returns the number of utterances."""
        return len(self.table)


def load_manifest(
    path: str | Path, config: DataConfig | None = None, *, gold: bool = True
) -> Manifest:
    """Returns the checked table at `path`, or raises one ManifestError that lists every problem.

    Relative audio paths start from `config.audio_root`, else from the manifest's own folder; in the
    result they are absolute. The error carries the whole list as `error.problems`. Without `gold`
    labels and splits are not read: what is wrong with them does not matter for prediction.
    """
    import pandas as pd

    config = config or DataConfig()
    path = Path(path).expanduser()
    root = formats.sound_root(path, config.audio_root)
    source = formats.read(path, root)
    data = b"" if source else _read_bytes(path)
    sha256 = formats.digest(path, source) if source else hashlib.sha256(data).hexdigest()
    source = source or read_table(path, data)
    problems = [Problem(path.name, *fault) for fault in source.faults]
    raw = source.frame
    if not len(raw) and not problems:
        raise ManifestError(f"{path.name}: a header but no rows; it needs one row an utterance")
    raw.columns = [str(name).strip() for name in raw.columns]
    raw = raw.rename(columns=_canonical_names(list(raw.columns)))
    if not gold:
        raw = raw.drop(columns=[n for n in raw if n in GOLD or n.lower().startswith("votes_")])
    rows = pd.Series(source.rows, dtype=int)

    table, bad = _columns(raw, config, rows, path, root, source.decimal_comma)
    problems += bad
    read = read_labels(raw, table, config, rows, path.name)
    table["label"], table["votes"] = read.label, read.votes
    problems += read.problems
    extra = [name for name in raw.columns if name not in table and name not in read.used]
    table = pd.concat([table[list(COLUMNS)], raw[extra]], axis=1)
    problems += check_content(table, extra, rows, path.name)
    if problems:
        problems.sort(key=lambda p: (p.row is None, p.row or 0))
        error = ManifestError(listing(problems, str(path)))
        error.problems = problems  # type: ignore[attr-defined]
        raise error
    return Manifest(
        table=table,
        classes=read.classes,
        path=str(path),
        sha256=sha256,
        notes=source.notes + read.notes,
    )


def _columns(
    raw: pd.DataFrame,
    config: DataConfig,
    rows: pd.Series,
    path: Path,
    root: Path,
    decimal_comma: bool,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Returns every column but label and votes, cleaned, and what is wrong in them."""
    import pandas as pd

    table, problems = pd.DataFrame(index=raw.index), []
    for name in TEXT_COLUMNS:
        table[name] = _clean(raw[name], name, config) if name in raw else _nothing(len(raw))
    for name in NUMBER_COLUMNS:
        table[name], bad = parse_numbers(raw.get(name), name, rows, path.name, decimal_comma)
        problems += bad
    table["split"], bad = normalise_splits(table["split"], rows, path.name)
    problems += bad
    table["audio"], bad = find_audio(table["audio"], root, rows, path.name)
    problems += bad
    if "id" not in raw:
        table["id"] = _ids(table, rows)
    return table, problems


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
        table.to_csv(part, index=False, sep="\t" if suffix == ".tsv" else ",", encoding="utf-8")
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
            f"{path}: no such manifest{where}{near}; correct the path (data.manifest), or call "
            "semi from the folder where it starts"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None


def _canonical_names(names: list[str]) -> dict[str, str]:
    """Returns {header: canonical name}; the exact name wins over its aliases, in their order."""
    plain = {name: name.lower().replace(" ", "_").replace("-", "_") for name in names}
    found: dict[str, str] = {}
    for canonical, aliases in ALIASES.items():
        for wanted in (canonical, *aliases):
            same = [n for n in names if plain[n] == wanted and n not in found]
            match = wanted if wanted in same else next(iter(same), None)
            if match is not None:
                found[match] = canonical
                break
    return found


def _nothing(n: int) -> pd.Series:
    import pandas as pd

    return pd.Series([None] * n, dtype=object)


def _clean(column: pd.Series, name: str, config: DataConfig) -> pd.Series:
    """Strips every cell; what spells nothing becomes None (in text only what pandas writes)."""
    import pandas as pd

    empty = set(NOTHING)
    if name == "text":
        empty = {"", "nan", "NaN", "<NA>"}
    elif name == "label":
        empty -= {"None", *config.classes}

    def clean(cell: object) -> str | None:
        text = cell.strip() if isinstance(cell, str) else None if cell is None else str(cell)
        return None if text is None or text in empty else text

    return pd.Series([clean(cell) for cell in column.tolist()], dtype=object)


def _ids(table: pd.DataFrame, rows: pd.Series) -> pd.Series:
    """Ids where the table has no such column: the audio's stem, else the row number."""
    import pandas as pd

    paths = zip(table["audio"].tolist(), rows.tolist(), strict=True)
    ids = [os.path.splitext(os.path.basename(p))[0] if p else f"row-{r}" for p, r in paths]
    return pd.Series(ids, dtype=object)


def _relative(value: object, folder: str) -> object:
    if isinstance(value, str) and os.path.isabs(value):
        inside = os.path.relpath(value, folder)
        return value if inside.startswith("..") else inside.replace(os.sep, "/")
    return value if isinstance(value, str) else None
