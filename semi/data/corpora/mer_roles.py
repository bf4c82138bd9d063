"""Who is who in a MER challenge: training rows, tests, candidates, each by the files that say so.

A file is known by its name alone, as MERTools' scripts read it (github.com/zeroQiaoba/MERTools):
MER2023 and MER2024 toolkit/preprocess/mer2023.py, mer2024.py and main-asr.py; MER2025_Track1
README.md, toolkit/preprocess/mer2025.py, evaluation.py. What has another name is never gold,
whatever its columns: a submission has the columns of a label file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ManifestError
from ..wording import counted
from .files import Tree, examples, plain
from .pickles import read_npz

TRAIN, CANDIDATES, POOL = "train_corpus", "candidates", "pool"
CORPUS = re.compile(r"train_corpus|test\d*_corpus")  # the arrays of MERTools' label files
LABEL_ARCHIVE = r"(track1_)?label[-_]6way\.npz"  # all roles in one: MERTools' processed folders
SHEETS = {  # a sheet's name -> the role of its rows; '' where the name itself says which test
    r"train-label\.csv": TRAIN,  # MER2023
    r"label-disdim\.csv": TRAIN,  # MER2024
    r"track1_train_disdim\.csv": TRAIN,  # MER2025
    r"(test\d)-label\.csv": "",  # MER2023, given out after the challenge
    r"(test\d)_name_convert_label\.csv": "",  # MER2024, as the organisers keep them
    r"reference-semi\.csv|semi-label\.csv": "test1_corpus",  # MER2024
    r"reference-noise\.csv": "test2_corpus",  # MER2024
    r"track1_test_dis\.csv": "test1_corpus",  # MER2025
    r"track_all_candidates\.csv": CANDIDATES,  # MER2025
    r"candidate_20000\.csv": CANDIDATES,  # MER2024
}
TRANSCRIPTS = (  # the most carefully made first
    *(r"transcription-merge\.csv", r"label-transcription\.csv"),
    *(r"transcription-engchi-polish\.csv", r"transcription\.csv", r"transcription-old\.csv"),
    *(r"track1_subtitle_chieng\.csv", r"subtitle_chieng\.csv"),
)
TEST_FOLDER = re.compile(r"(?:video-)?(test\d)(?:-noise)?", re.IGNORECASE)
LABEL_SUFFIXES = (".csv", ".tsv", ".npz", ".xlsx", ".json", ".jsonl", ".parquet", ".txt")
NAME_COLUMNS = ("name", "names", "filename", "videoname")
EMOTION_COLUMNS = ("discrete", "emo", "emotion", "label")

Rows = dict[str, dict[str, Any]]  # name -> {emo, val}, each where it is given


@dataclass
class Roles:
    """The rows of each role, by name, each name in one role; and what was found in which file."""

    rows: dict[str, Rows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def held(self) -> list[str]:
        """The roles that a submission must answer: tests first, then candidates."""
        tests = sorted(role for role in self.rows if role.startswith("test"))
        return tests + [CANDIDATES] * (CANDIDATES in self.rows)

    def add(self, role: str, rows: Rows, source: str) -> None:
        """Adds rows to a role; of two labels of one name the first counts."""
        known, other = self.rows.setdefault(role, {}), []
        for name, row in rows.items():
            mine = known.setdefault(name, row)
            if row.get("emo") and mine.get("emo") and mine["emo"] != row["emo"]:
                other.append(name)
            else:
                known[name] = row | {key: value for key, value in mine.items() if value}
        if other:
            self.notes.append(
                f"{counted(len(other), 'name')} of {role} with another label in {source}; the "
                f"first counts ({examples(other)})"
            )

    def separate(self) -> None:
        """Leaves every name in one role: what is to be answered is never learned from.

        Of two tests the one that gives a label counts, else the first: MERTools makes one test of
        all that is unlabelled, of which the challenge later names parts.
        """
        owner: dict[str, str] = {}
        learned = []
        for role in [r for r in (*self.held, TRAIN) if r in self.rows]:
            for name, row in list(self.rows[role].items()):
                first = owner.get(name)
                if first is None:
                    owner[name] = role
                elif role.startswith("test") and row.get("emo") and not self.rows[first][name]:
                    del self.rows[first][name]
                    owner[name] = role
                else:
                    del self.rows[role][name]
                    learned += [name] * (role == TRAIN)
        if learned:
            self.notes.append(
                f"{counted(len(learned), 'name')} in {TRAIN} and among the tests or candidates "
                f"too: held out, and the label not learned from ({examples(learned)})"
            )


def read_roles(tree: Tree, test_labels: str) -> Roles:
    """Returns the roles that the known label files say, and notes; other tables are told ignored.

    `test_labels` auto drops the labels of a test that are all alike, as MERTools fills them in.
    """
    roles = Roles()
    for path in tree.files:
        if path.suffix.lower() not in LABEL_SUFFIXES:
            continue
        name = path.name.lower()
        if re.fullmatch(LABEL_ARCHIVE, name):
            found = _corpora(tree, path, roles.notes)
        elif role := _role(name):
            found = {role: _sheet(tree, path, labelled=role != CANDIDATES)}
        else:
            if not any(re.fullmatch(known, name) for known in TRANSCRIPTS):
                tree.pass_over(path, _reason(path))
            continue
        for role, rows in found.items():
            rows = _without_fillers(role, rows, path.name, test_labels, roles.notes)
            roles.add(role, rows, path.name)
            roles.notes.append(f"{role}: {counted(len(rows), 'name')} from {path.name}")
    if not roles.rows:
        raise ManifestError(_nothing(tree))
    roles.separate()
    return roles


def _role(name: str) -> str | None:
    for pattern, role in SHEETS.items():
        if match := re.fullmatch(pattern, name):
            return role or f"{match[1]}_corpus"
    return None


def _corpora(tree: Tree, path: Path, notes: list[str]) -> dict[str, Rows]:
    """Returns the corpora of a label file of MERTools: name -> {emo, val} or the emotion alone."""
    tree.opened.add(path)
    found: dict[str, Rows] = {}
    for corpus, rows in read_npz(path).items():
        if not CORPUS.fullmatch(corpus) or not isinstance(rows, dict):
            notes.append(f"{path.name}: its array {corpus} is no corpus of the challenge, not read")
            continue
        found[corpus] = {
            str(name): row if isinstance(row, dict) else {"emo": row} for name, row in rows.items()
        }
    return found


def _sheet(tree: Tree, path: Path, *, labelled: bool) -> Rows:
    """Returns the names of a sheet, and their labels where it is one of labels."""
    records = tree.records(path)
    head = records[0] if records else {}
    name, emotion = column(head, NAME_COLUMNS), column(head, EMOTION_COLUMNS)
    if records and (name is None or (labelled and emotion is None)):
        raise ManifestError(
            f"{path}: no column {'name' if name is None else 'discrete'} in it (its columns are "
            f"{examples(head, 6)}); it is a label file of the challenge by its name"
        )
    rows: Rows = {}
    for record in records:
        if name and record[name]:
            given = {"emo": record[emotion], "val": record.get("valence", "")} if emotion else {}
            rows.setdefault(stem(record[name]), given if labelled else {})
    return rows


def _without_fillers(
    role: str, rows: Rows, source: str, test_labels: str, notes: list[str]
) -> Rows:
    """Returns the rows, without their labels where these are a test's fillers."""
    if not role.startswith("test") or test_labels == "keep":
        return rows
    kinds = {str(row["emo"]) for row in rows.values() if row.get("emo")}
    if not kinds or (test_labels == "auto" and len(kinds) > 1):
        return rows
    why = "all alike, thus fillers" if len(kinds) == 1 else "not wanted (test_labels=drop)"
    notes.append(f"{role}: the {counted(len(rows), 'label')} in {source} are {why}: never gold")
    return {name: {} for name in rows}


def _reason(path: Path) -> str:
    name = path.name.lower()
    if re.match(r"track[23]_", name):
        return "labels of another track"
    if re.match(r"(submission|answer|pred|result|test1_features)", name):
        return "a model's answers, never gold"
    return "no file of the challenge by its name"


def _nothing(tree: Tree) -> str:
    others = examples((path.name for path in tree.ignored), 5)
    return (
        f"{tree.folder}: no labels beneath it: no label-6way.npz, track1_label_6way.npz, "
        "train-label.csv (MER2023), label-disdim.csv (MER2024) or track1_train_disdim.csv (MER2025)"
        + (f"; files of other names are not read as labels: {others}" if others else "")
    )


def column(head: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    """Returns the first of the wanted headers that the record has."""
    return next((name for name in wanted if plain(name) in head), None)


def stem(name: str) -> str:
    """Returns a name without the ending of a media file: names may hold dots."""
    return re.sub(r"\.(wav|mp4|avi|npy|flac)$", "", name.strip(), flags=re.IGNORECASE)
