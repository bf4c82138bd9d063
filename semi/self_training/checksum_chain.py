"""The chain of a run's checksums: what each round's record is tied to, and the run's own record.

Each round's `checksums.json` names the SHA-256 of its own files, of the files of the run it rests
on, of the features, and of the record of the round before: from round to round the records are a
chain. The run's own `checksums.json` says whether the run is finished and then names every file.
A kill leaves files without a record, never a record without its files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..checksums import CHECKSUMS, FORMATS, digests, file_sha256, read_record, write_record
from ..errors import RunError

# What every round rests on and what never changes after the first one.
BESIDE = (
    *("config.yaml", "manifest.sha256", "recipe.txt", "standardize.txt", "splits.csv"),
    "committee.safetensors",
    "pretrained/checksums.json",
    "gold_reviews.csv",
)
FEATURES_ENTRY = "features"  # entry beside these that is no file: the SHA-256 of all features
APPENDED = "metrics.jsonl"  # grows by a line a round: hashed up to where it ended by then
DERIVED_FILES = ("report.html", "probs.parquet", "teacher.npz")


def round_numbers(path: Path) -> list[int]:
    """Returns the numbers of the rounds that are completely written, in order."""
    found = (re.fullmatch(r"round-(\d+)", p.name) for p in path.iterdir() if p.is_dir())
    return sorted(int(m.group(1)) for m in found if m)


def round_folder(path: Path, number: int) -> Path:
    """Returns the folder of a round, written or not."""
    return path / f"round-{number:02d}"


def chain_link(path: Path, number: int, features: str) -> dict[str, Any]:
    """Returns what ties a round that is about to be written to its run and to the round before.

    Args:
        path: the run's folder.
        number: of the round.
        features: SHA-256 of the features it learns from.
    """
    earlier = [n for n in round_numbers(path) if n < number]
    before = round_folder(path, earlier[-1]) / CHECKSUMS if earlier else None
    beside = {n: file_sha256(path / n) for n in BESIDE if (path / n).is_file()}
    log = path / APPENDED
    length = log.stat().st_size if log.is_file() else 0
    return {
        "round": number,
        "after": earlier[-1] if earlier else None,
        "previous": file_sha256(before) if before and before.is_file() else None,
        "beside": beside | ({FEATURES_ENTRY: features} if features else {}),
        "appended": {"bytes": length, "sha256": file_sha256(log, length) if length else ""},
    }


def refuse_other_features(path: Path, features: str) -> None:
    """Raises RunError where the rounds of a begun run were trained on other features."""
    for number in round_numbers(path):
        record = read_record(round_folder(path, number) / CHECKSUMS)
        before = record["beside"].get(FEATURES_ENTRY, "") if record else ""
        if before and before != features:
            raise RunError(
                f"the features are not those that {round_folder(path, number)} was trained on: "
                "the sounds, the feature store, the encoders or the outside votes changed since; "
                "bring them back, "
                "or start a new run with another name=..."
            )


def mark_begun(path: Path) -> None:
    """Writes the run's record: it is at work, so its rounds alone are checked.

    Rounds of an earlier version, which have no record, are written down as such.
    """
    bare = [n for n in round_numbers(path) if not (round_folder(path, n) / CHECKSUMS).is_file()]
    write_record(path / CHECKSUMS, {"finished": False, "without": bare, **FORMATS})


def mark_finished(path: Path) -> None:
    """Writes the run's record: it is finished, and these are all of its files."""
    known = read_record(path / CHECKSUMS) or {}
    files = digests(path, DERIVED_FILES)
    record = {"finished": True, "without": known.get("without", []), "files": files}
    write_record(path / CHECKSUMS, record | FORMATS)


def is_finished(path: Path) -> bool:
    """Says whether a run is finished, its checksums included; those of old runs do not count."""
    if not (path / "result.json").is_file():
        return False
    record = read_record(path / CHECKSUMS)
    return record is None or record["finished"]
