"""MER2023/2024/2025 in the layout of MERTools: labels, transcripts, audio and feature folders.

label-6way.npz (pickled name -> {emo, val}) or a CSV with name and discrete; audio/<name>.wav;
transcription-merge.csv; features/<model>-UTT|_UTT|-FRA/<name>.npy. https://github.com/zeroQiaoba/MERTools
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ManifestError
from ...files import replacing
from .emotions import Spelling
from .files import SOUNDS, Tree, examples, number, one_of, plain, read_records, tally, to_table
from .pickles import read_npz

if TYPE_CHECKING:
    import pandas as pd

MER = {
    **{name: name for name in ("neutral", "angry", "happy", "sad", "worried", "surprise")},
    **{"anger": "angry", "happiness": "happy", "sadness": "sad", "surprised": "surprise"},
    "worry": "worried",
}
FEATURES = re.compile(r".+[-_](UTT|FRA)", re.IGNORECASE)
NAMES = ("name", "names", "filename", "videoname")
EMOTIONS = ("discrete", "emo", "emotion", "label")
TEXTS = {"chinese": ("chinese", "sentence", "text", "subtitle"), "english": ("english",)}


def read_mer2024(
    folder: Path, *, text: str = "chinese", test_labels: str = "auto", pool: str = "yes",
    frames: str = "",
) -> tuple[pd.DataFrame, list[str]]:  # fmt: skip
    """Returns the table of the labelled rows, the tests and the label-free pool, and notes.

    MERTools fills in 'neutral' where a test has no labels: `test_labels` auto drops labels of a
    test that are all alike, keep and drop decide. Column `corpus` says train_corpus, test1_corpus
    ... or pool. Features kept as one file a frame are stacked into the folder `frames`.
    """
    one_of("text", text, tuple(TEXTS))
    one_of("test_labels", test_labels, ("auto", "keep", "drop"))
    one_of("pool", pool, ("yes", "no"))
    tree, spelling = Tree(folder), Spelling(MER)
    labels, notes = _labels(tree)
    transcripts = _transcripts(tree, text, notes)
    sounds = {path.stem: path for path in tree.stems(SOUNDS).values()}
    arrays = _features(tree, frames, notes)
    given = {name for corpus in labels.values() for name in corpus}
    unlabelled = {name for found in (sounds, *arrays.values()) for name in found} - given
    if pool == "yes":
        labels["pool"] = {name: {} for name in sorted(unlabelled | (set(transcripts) - given))}
    records, seen, nothing, twice = [], set(), [], []
    anything = bool(sounds or arrays or transcripts)
    for corpus, rows in labels.items():
        fake = corpus.startswith("test") and _made_up(rows, test_labels)
        if fake:
            notes.append(f"{corpus}: {len(rows)} rows, whose labels are fillers and left out")
        for name, row in rows.items():
            if name in seen:
                twice.append(name)
                continue
            seen.add(name)
            features = {folder: str(f[name]) if name in f else None for folder, f in arrays.items()}
            sound, transcript = sounds.get(name), transcripts.get(name)
            if anything and not (sound or transcript or any(features.values())):
                nothing.append(name)
                continue
            label = None if fake else spelling.label(str(row.get("emo") or ""))
            records.append(
                {
                    "id": name,
                    "audio": str(sound) if sound else None,
                    "text": transcript,
                    "label": label,
                    "valence": float("nan") if fake else number(str(row.get("val", ""))),
                    "split": "test" if corpus.startswith("test") and not fake else None,
                    "language": "en" if text == "english" else "zh",
                    "corpus": corpus,
                    **features,
                }
            )
    if not records:
        raise ManifestError(
            f"{folder}: no utterance has a sound, a transcript or features; give the folder that "
            "holds label-6way.npz, audio and features"
        )
    table = to_table(records)
    notes = [_found(table), *notes, *spelling.notes(), *_complete(table, arrays)]
    if nothing:
        notes.append(
            f"{len(nothing)} labelled names have neither sound, transcript nor features and are "
            f"dropped ({examples(nothing)})"
        )
    if not anything:
        notes.append("no sound, transcript or features were found: the table holds labels alone")
    if twice:
        notes.append(f"{len(twice)} names stand in two corpora; the first counts")
    if "test" not in set(table["split"]):
        notes.append("no labelled test: data.test_fraction holds one out; speakers are not known")
    return table, notes


def _labels(tree: Tree) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """Returns {corpus: {name: {emo, val}}} and notes on where it was read."""
    for path, _ in tree.matching(r"label.*\.npz"):
        corpora = {}
        for corpus, rows in read_npz(path).items():
            if isinstance(rows, dict):
                corpora[corpus] = {
                    str(name): row if isinstance(row, dict) else {"emo": row}
                    for name, row in rows.items()
                }
        if corpora:
            order = sorted(corpora, key=lambda name: (not name.startswith("train"), name))
            return {name: corpora[name] for name in order}, [f"labels from {path.name}"]
    by_corpus: dict[str, dict[str, dict[str, Any]]] = {}
    files = []
    for path, _ in tree.matching(r".*\.csv"):
        records = read_records(path)
        head = records[0] if records else {}
        name, emotion = (_column(head, wanted) for wanted in (NAMES, EMOTIONS))
        if name is None or emotion is None:
            continue
        corpus = re.search(r"(?<![a-z])test\d*", path.stem.lower())
        rows = by_corpus.setdefault(f"{corpus[0]}_corpus" if corpus else "train_corpus", {})
        for r in records:
            if r[name]:
                rows.setdefault(_stem(r[name]), {"emo": r[emotion], "val": r.get("valence", "")})
        files.append(path.name)
    if not by_corpus:
        raise ManifestError(
            f"{tree.folder}: no labels beneath it: neither label-6way.npz nor a CSV such as "
            "label-disdim.csv with the columns name, discrete"
        )
    return by_corpus, [f"labels from {', '.join(files)}"]


def _transcripts(tree: Tree, language: str, notes: list[str]) -> dict[str, str]:
    """Returns {name: what was said}: of the checked and merged files first, plain ones after."""
    ranked = sorted(
        tree.matching(r".*transcription.*\.csv"),
        key=lambda pair: next(
            (i for i, w in enumerate(("merge", "label", "polish", "")) if w in pair[0].stem), 9
        ),
    )
    transcripts: dict[str, str] = {}
    for path, _ in ranked:
        records = read_records(path)
        head = records[0] if records else {}
        name, column = _column(head, NAMES), _column(head, TEXTS[language])
        if name is None or column is None:
            continue
        texts = {_stem(r[name]): " ".join(r[column].split()) for r in records if r[name]}
        new = {
            name: text for name, text in texts.items()
            if name not in transcripts and text.lower() not in ("", "nan", "none")
        }  # fmt: skip
        if new:
            notes.append(f"{len(new)} transcripts from {path.name}, column {column}")
        transcripts |= new
    return transcripts


def _column(head: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if plain(name) in head), None)


def _stem(name: str) -> str:
    """Returns a name without the ending of a media file: names may hold dots."""
    return re.sub(r"\.(wav|mp4|avi|npy|flac)$", "", name.strip(), flags=re.IGNORECASE)


def _features(tree: Tree, frames: str, notes: list[str]) -> dict[str, dict[str, Path]]:
    """Returns {feature folder: {name: array file}} of utterance and frame features."""
    found: dict[str, dict[str, Path]] = {}
    scattered: dict[Path, list[Path]] = {}
    for path in tree.files:
        if path.suffix != ".npy":
            continue
        if FEATURES.fullmatch(path.parent.name):
            found.setdefault(path.parent.name, {})[path.stem] = path
        elif FEATURES.fullmatch(path.parent.parent.name):
            scattered.setdefault(path.parent, []).append(path)
    for where, files in scattered.items() if frames else ():
        done = stack_frames(files, Path(frames).expanduser() / where.parent.name / where.name)
        found.setdefault(where.parent.name, {})[where.name] = done
    if scattered:
        shown = examples(sorted(map(str, scattered)), 1)
        done = f"stacked in {frames}" if frames else (
            "not read: the option frames=DIR stacks each into one .npy (T, D) beneath DIR"
        )  # fmt: skip
        notes.append(
            f"{len(scattered)} utterances keep their features as one file a frame, {done} ({shown})"
        )
    return dict(sorted(found.items()))


def stack_frames(files: list[Path], target: Path) -> Path:
    """Writes the frames (D,) of one utterance, in the order of their numbers, as one (T, D)."""

    def place(path: Path) -> tuple[int, str]:
        number = re.search(r"\d+", path.stem)
        return int(number[0]) if number else -1, path.stem

    ordered = sorted(files, key=place)
    try:
        rows = [np.load(path, allow_pickle=False).reshape(-1) for path in ordered]
        stacked = np.stack(rows)
    except (ValueError, OSError) as error:
        raise ManifestError(
            f"{ordered[0].parent}: its frames cannot be stacked ({error})"
        ) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target = target.with_name(target.name + ".npy").resolve()
    with replacing(target) as part, open(part, "wb") as handle:
        np.save(handle, stacked)
    return target


def _made_up(rows: dict[str, dict[str, Any]], test_labels: str) -> bool:
    kinds = {str(row.get("emo")) for row in rows.values()}
    return test_labels == "drop" or (test_labels == "auto" and len(kinds) < 2)


def _found(table: pd.DataFrame) -> str:
    counts = Counter(label for label in table["label"] if isinstance(label, str))
    parts = tally(Counter(table["corpus"].tolist()))
    return f"{len(table)} utterances ({parts}); labels: {tally(counts)}"


def _complete(table: pd.DataFrame, arrays: dict[str, dict[str, Path]]) -> list[str]:
    """Returns how many utterances have each kind of input."""
    notes = [
        f"{column}: {sum(map(bool, table[column].tolist()))} of {len(table)} utterances"
        for column in ("audio", "text")
    ]
    for name in arrays:
        lacking = table["id"][table[name].isna()].tolist()
        short = f", without it {examples(lacking)}" if lacking else ""
        notes.append(f"features {name}: {len(table) - len(lacking)} of {len(table)}{short}")
    return notes
