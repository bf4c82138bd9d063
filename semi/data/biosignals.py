"""EDA, temperature and heart-beat recordings of KEMDy19 and KEMDy20 -> features an utterance.

A recording's rows name the segment only while its speaker talks. Signals are often missing: some
files are empty, KEMDy19 has no beats, and a short utterance may lie between two beats. So each
signal is a modality of its own (eda.npz, temp.npz, ibi.npz), and bio.npz holds those utterances
that have them all, for who wants one vector; none is dropped for the lack of one.
"""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import replacing
from .biosignal_features import FEATURES, signal_features
from .corpora.files import Tree, examples, number, read_rows
from .corpora.sheets import SEGMENT, with_session
from .wording import counted

if TYPE_CHECKING:
    import pandas as pd

RATE = 4.0  # Hz of the wristband's EDA and temperature, where a file does not say it
RECORDING = r"(Sess)(?:ion)?(\d+)(_(?:script|impro)\d+\w*?_User\d+[FM]|_?[FM])\.csv"
PLAUSIBLE = {"eda": (-1.0, 200.0), "temp": (-50.0, 150.0), "ibi": (0.2, 4.0)}  # else no sample


@dataclass
class Recording:
    """One file of one signal."""

    values: np.ndarray  # (T,)
    segments: dict[str, np.ndarray]  # id -> (n,) indices of its samples
    rate: float = RATE
    foreign: int = 0  # samples that name a segment of somebody else


@dataclass
class Biosignals:
    """The features of a corpus, and what was found."""

    table: pd.DataFrame  # id and the 20 features; NaN where the utterance lacks that signal
    files: dict[str, int] = field(default_factory=dict)  # signal -> recordings
    empty: list[str] = field(default_factory=list)  # recordings without any sample
    foreign: int = 0


def biosignal_table(folder: str | Path) -> pd.DataFrame:
    """Returns `id` and the 20 features of every segment that any recording beneath `folder` names.

    NaN where the segment lacks a signal.
    """
    return read_biosignals(folder).table


def read_biosignals(folder: str | Path) -> Biosignals:
    """Returns the features of every recording beneath the folders EDA, TEMP and IBI."""
    import pandas as pd

    tree = Tree(Path(folder).expanduser().resolve())
    rows: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    out = Biosignals(pd.DataFrame())
    for path, match in tree.matching(RECORDING):
        kind = next((kind for kind in FEATURES if tree.is_under(path, kind)), None)
        if kind is None:
            continue
        stem = f"Sess{int(match[2]):02d}{match[3].lstrip('_') if len(match[3]) < 3 else match[3]}"
        recording = read_recording(path, kind, stem)
        out.files[kind] = out.files.get(kind, 0) + 1
        out.foreign += recording.foreign
        if not len(recording.values):
            out.empty.append(f"{kind.upper()} {path.name}")
            continue
        found = signal_features(kind, recording.values, recording.segments, recording.rate)
        for name, values in found.items():
            rows[name].setdefault(kind, values)
    records = [
        {"id": name}
        | {
            feature: value
            for kind, names in FEATURES.items()
            for feature, value in zip(
                names, rows[name].get(kind, np.full(len(names), np.nan)), strict=True
            )
        }
        for name in sorted(rows)
    ]
    columns = ["id", *(feature for names in FEATURES.values() for feature in names)]
    out.table = pd.DataFrame(records, columns=columns)
    return out


def read_recording(path: Path, kind: str, stem: str) -> Recording:
    """Returns the samples of a file, and which segment of its speaker each belongs to.

    `stem` is Sess01_script01_User001F or Sess01F. The id stands in a row's last cell, only while
    the speaker talks; header lines (start, sample rate) come first in KEMDy20 and not in KEMDy19.
    """
    at = 1 if kind == "ibi" else 0  # the beats' rows begin with their offset
    low, high = PLAUSIBLE[kind]
    values: list[float] = []
    segments: dict[str, list[int]] = defaultdict(list)
    rate, foreign = RATE, 0
    for row in read_rows(path):
        if len(row) > 1 and row[1].lower() == "hz":
            rate = number(row[0]) if number(row[0]) > 0 else RATE
            continue
        value = number(row[at]) if len(row) > at else float("nan")
        if not low <= value <= high:  # also the header's start time, and NaN
            continue
        name = next((cell for cell in row[:at:-1] if SEGMENT.fullmatch(cell)), None)
        if name is not None and (own := _own(name, stem)):
            segments[own].append(len(values))
        elif name is not None:
            foreign += 1
        values.append(value)
    arrays = {name: np.array(indices) for name, indices in segments.items()}
    return Recording(np.array(values), arrays, rate, foreign)


def _own(segment: str, stem: str) -> str | None:
    """Returns the segment's id if it is of the recording's speaker, else None."""
    session = re.match(r"Sess\d+", stem)
    name = with_session(segment, session[0] if session else "")
    speaker = name.rpartition("_")[0] if "_" in stem else f"{stem[:-1]}{name.split('_')[-1][0]}"
    return name if speaker.lower() == stem.lower() else None


def write_biosignals(folder: Path, out: Path, ids: Sequence[str]) -> list[str]:
    """Writes eda.npz, temp.npz, ibi.npz, bio.npz and biosignals.csv; returns notes.

    Only the utterances `ids` are written. Each .npz holds `id` (N,) and an array (N, D), of the
    utterances that have the signal: what encoders.extra.<name>.path reads.
    """
    found = read_biosignals(folder)
    table = found.table[found.table["id"].isin(set(ids))].reset_index(drop=True)
    if not len(table):
        where = " and ".join(f"{kind.upper()}/" for kind in FEATURES)
        return [f"no biosignals: no recording beneath {where} names any of the utterances"]
    out = Path(out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "biosignals.csv") as part:
        table.to_csv(part, index=False)
    kinds = [kind for kind in FEATURES if table[FEATURES[kind][0]].notna().any()]
    sets = {kind: list(FEATURES[kind]) for kind in kinds}
    sets["bio"] = [feature for kind in kinds for feature in FEATURES[kind]]
    counts = {}
    for name, features in sets.items():
        values = table[features].to_numpy(dtype=np.float32)
        whole = np.isfinite(values).all(axis=1)
        counts[name] = int(whole.sum())
        with replacing(out / f"{name}.npz") as part, open(part, "wb") as handle:
            ids_of = table["id"].to_numpy(dtype=str)[whole]
            np.savez(handle, id=ids_of, **{name: values[whole]})
    have = ", ".join(f"{name} {counts[name]}" for name in kinds)
    notes = [
        f"biosignals in {out}: of {counted(len(ids), 'utterance')} have {have}; all of them "
        f"({counted(len(sets['bio']), 'feature')}) {counts['bio']}; set encoders.extra="
        "{" + ", ".join(f"{name}: {{path: {out / name}.npz}}" for name in kinds) + "}"
    ]
    if found.empty:
        notes.append(
            f"{len(found.empty)} of {counted(sum(found.files.values()), 'recording')} are empty; "
            f"their utterances lack that signal ({examples(found.empty)})"
        )
    if found.foreign:
        notes.append(f"{counted(found.foreign, 'sample')} of another speaker's segment not used")
    return notes
