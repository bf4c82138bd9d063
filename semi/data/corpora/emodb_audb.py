"""EmoDB 2 as audb hands it out: tables of audformat beside wav/, with new, ambiguous recordings.

db.yaml; db.files.csv (file, duration, speaker, transcription); db.speaker.csv (speaker, gender);
db.emotion.csv (file, emotion, emotion.confidence); db.emotion.categories.*.csv, of which train and
test.gold_standard are an official split, speakers apart. zenodo.org/records/17651657
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .account import summary
from .files import Tree, examples, number, one_of, plain, to_table

if TYPE_CHECKING:
    import pandas as pd

AUDB_TABLES = r"db\.emotion.*\.(csv|parquet)"  # audb keeps either
SPLIT = re.compile(r"\.(train|dev|test)\.", re.IGNORECASE)


def read_audb(
    tree: Tree, ambiguous: str, sentences: dict[str, str], women: tuple[str, ...]
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of every file that a table of emotions or db.files.csv names, and notes.

    `ambiguous` recordings, which listeners did not agree on, are unlabelled or keep the emotion
    that their table names.
    """
    one_of("ambiguous", ambiguous, ("unlabelled", "keep"))
    files = _by_file(tree, r"db\.files\.(csv|parquet)")
    speakers = {
        _speaker(row.get("speaker", "")): row
        for path, _ in tree.matching(r"db\.speakers?\.(csv|parquet)")
        for row in _records(tree, path)
    }
    labels, doubtful, notes = _emotions(tree, ambiguous)
    records, silent = [], []
    there, base = set(tree.files), tree.matching(AUDB_TABLES)[0][0].parent
    for file in sorted({*files, *labels, *doubtful}):
        path = base / file
        if path not in there:
            silent.append(file)
            continue
        row = files.get(file, {})
        speaker = _speaker(row.get("speaker", "") or path.stem[:2])
        code = row.get("transcription", "") or path.stem[2:5]
        label = labels.get(file, {})
        gender = speakers.get(speaker, {}).get("gender", "")
        records.append(
            {
                "id": path.stem, "audio": str(path), "text": sentences.get(code, row.get(
                    "transcription") or None), "label": label.get("emotion"), "speaker": speaker,
                "sex": gender[:1].lower() or ("f" if speaker in women else "m"), "language": "de",
                "split": label.get("split"), "confidence": number(label.get("confidence")),
                "ambiguous": doubtful.get(file),
            }
        )  # fmt: skip
    if not records:
        raise ManifestError(
            f"{tree.folder}: its tables name {counted(len(silent), 'file')}, but none is there, "
            f"such as {(silent or ['wav/03a01Fa.wav'])[0]}"
        )
    table = to_table(records)
    if silent:
        notes.append(f"{counted(len(silent), 'file')} of the tables missing ({examples(silent)})")
    return table, [summary(table), *notes]


def _emotions(
    tree: Tree, ambiguous: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str], list[str]]:
    """Returns {file: emotion, confidence, split}, {ambiguous file: emotion}, and notes."""
    labels: dict[str, dict[str, Any]] = {}
    doubtful: dict[str, str] = {}
    notes = []
    found = [path for path, _ in tree.matching(AUDB_TABLES)]
    for path in sorted(found, key=lambda p: ("gold_standard" not in p.name, p.name)):
        rows = _by_file(tree, re.escape(path.name))
        kind = SPLIT.search(path.name)
        unsure = "ambiguous" in path.name.lower()
        for file, row in rows.items():
            emotion = row.get("emotion", "").lower()
            if not emotion:
                continue
            if unsure:
                doubtful.setdefault(file, emotion)
            if not unsure or ambiguous == "keep":
                split = kind[1].lower() if kind else None
                given = {"emotion": emotion, "confidence": row.get("emotion.confidence", "")}
                labels.setdefault(file, {**given, "split": split})
        notes.append(f"{path.name}: {counted(len(rows), 'row')}")
    doubtful = {file: name for file, name in doubtful.items() if file not in labels}
    if doubtful:
        notes.append(
            f"{counted(len(doubtful), 'recording')} unlabelled, as ambiguous; column ambiguous "
            "says what was meant (ambiguous=keep makes it the label)"
        )
    return labels, doubtful, notes


def _by_file(tree: Tree, name: str) -> dict[str, dict[str, str]]:
    """Returns {file: row} of the tables of that name."""
    rows: dict[str, dict[str, str]] = {}
    for path, _ in tree.matching(name):
        for row in _records(tree, path):
            if row.get("file"):
                rows.setdefault(row["file"].removeprefix("./"), row)
    return rows


def _records(tree: Tree, path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table of audformat, by header in lower case; the index is a column."""
    if path.suffix.lower() == ".csv":
        return tree.records(path)
    import io

    import pandas as pd

    try:
        table = pd.read_parquet(io.BytesIO(tree.data(path)))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: not a readable Parquet file ({error})") from None
    table = table.reset_index() if table.index.names != [None] else table
    cells = table.astype(object).where(table.notna(), "")
    return [{plain(str(k)): str(v) for k, v in row.items()} for row in cells.to_dict("records")]


def _speaker(given: str) -> str:
    """Returns a speaker as in the files' names: 3 is 03."""
    return f"{int(number(given)):02d}" if number(given) == number(given) else given
