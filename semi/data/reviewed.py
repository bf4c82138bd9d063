"""What people's reviews come to for the rows of a manifest: gold, votes, or out of the pool.

One reviewer's label is the row's label; reviewers who differ are votes, settled as a column `votes`
is (data.ties). A row that most of its reviewers call unsure or bad audio is used for nothing. Rows
that are held out stay held out: what people said of them may test a run, never teach it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ManifestError
from .reviews import Review, read_reviews, standing
from .wording import WARNING, counted, listed, nearest, shown

if TYPE_CHECKING:
    import numpy as np

    from .config import DataConfig
    from .manifest import Manifest

OUT = ("unsure", "bad_audio")
APART = ("held_out", "unused")  # rows that no review teaches from
GOLD_REVIEWS = "gold_reviews.csv"  # in a run: the reviews that it learned from, its own copy


@dataclass(frozen=True)
class RowReview:
    """What the reviewers of one row come to."""

    verdict: str  # label, or one of OUT
    label: str | None  # its class; None where votes tie, and where it has none
    votes: dict[str, float] | None  # class -> votes of its reviewers where they differ, or a;b
    words: tuple[Review, ...]  # the standing word of each reviewer


@dataclass
class Reviewed:
    """The reviews of a manifest's rows."""

    rows: dict[str, RowReview] = field(default_factory=dict)  # id -> what its reviewers come to
    lines: list[Review] = field(default_factory=list)  # all that was read, in the order of time
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was refused, in sentences
    given: dict[str, str] = field(default_factory=dict)  # id -> label of the table; '' = none
    # id -> gold, tied, unsure, bad_audio, held_out or unused, once sides are drawn; see `settle`
    use: dict[str, str] = field(default_factory=dict)
    # ids whose label of the table would have trained: neither hidden nor of a pool; see `settle`
    overruled: set[str] = field(default_factory=set)


def reviews_of(manifest: Manifest, config: DataConfig, paths: Sequence[str]) -> Reviewed:
    """Returns what people said of the manifest's rows; ManifestError where nothing fits it.

    A review of a row that is not in the manifest, or with a label that is none of its classes, is
    refused: a note says how many. It leaves the row as the manifest has it.
    """
    lines = read_all(paths)
    reviewed = Reviewed(lines=lines, files=[str(path) for path in paths])
    ids = set(manifest.table["id"].tolist())
    strange: list[str] = []
    unknown: Counter[str] = Counter()
    for name, words in standing(lines).items():
        if name not in ids:
            strange.append(name)
            continue
        parts = {who: classes_in(w.label, manifest.classes, config) for who, w in words.items()}
        wrong = [words[who].label for who, found in parts.items() if found is None]
        unknown.update(wrong)
        kept = {who: parts[who] or [] for who in words if parts[who] is not None}
        if kept:
            standing_words = tuple(words[who] for who in kept)
            reviewed.rows[name] = _together(standing_words, list(kept.values()), config.ties)
    if lines and strange and not reviewed.rows and not unknown:
        raise ManifestError(
            f"none of the {counted(len(strange), 'reviewed row')} of {listed(reviewed.files)} is "
            f"in {manifest.path} (first: '{shown(strange[0])}'); name the reviews of this manifest "
            "in data.reviews"
        )
    cells = (manifest.table[name].tolist() for name in ("id", "label", "votes"))
    reviewed.given = {
        i: words_of(*own) for i, *own in zip(*cells, strict=True) if i in reviewed.rows
    }
    reviewed.notes = _refusals(strange, unknown, manifest.classes)
    if not lines:
        reviewed.notes.append(f"{WARNING}{listed(reviewed.files)} holds no review")
    return reviewed


def read_all(paths: Sequence[str | Path]) -> list[Review]:
    """Returns the reviews of all files, each once; several files in the order of their times.

    ManifestError where a file is not there.
    """
    found: list[Review] = []
    for path in paths:
        path = Path(path).expanduser()
        if path.is_dir():
            raise ManifestError(
                f"{path} is a folder; name the file of reviews in it, such as "
                f"{path / 'reviews.csv'}"
            )
        if not path.is_file():
            raise ManifestError(
                f"{path}: no such file of reviews; semi review RUN writes RUN/reviews.csv"
            )
        known = set(found)
        found += [review for review in read_reviews(path) if review not in known]
    if len(paths) > 1:
        found.sort(key=lambda review: instant(review.time))
    return found


def instant(time: str) -> float:
    """Returns seconds since 1970 of a time in ISO 8601; one that cannot be read comes first."""
    try:
        return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def classes_in(label: str, classes: Sequence[str], config: DataConfig) -> list[str] | None:
    """Returns the classes that a review's label a;b names, each once; None if one is unknown."""
    from .missing import composed

    names = [composed(part.strip()) for part in label.split(";") if part.strip()]
    names = [name if name in classes else config.label_map.get(name, name) for name in names]
    return list(dict.fromkeys(names)) if all(name in classes for name in names) else None


def _together(words: tuple[Review, ...], parts: list[list[str]], ties: str) -> RowReview:
    """Returns what the reviewers of a row come to.

    Args:
        words: the standing word of each.
        parts: the classes that each named; none with another verdict than label.
        ties: data.ties.
    """
    count = Counter(word.verdict for word in words)
    if 2 * count["label"] < len(words):
        verdict = "bad_audio" if count["bad_audio"] >= count["unsure"] else "unsure"
        return RowReview(verdict, None, None, words)
    given = [sorted(names) for names in parts if names]
    if all(names == given[0] for names in given) and len(given[0]) == 1:
        return RowReview("label", given[0][0], None, words)
    votes: dict[str, float] = {}
    for names in given:
        for name in names:
            votes[name] = votes.get(name, 0.0) + 1.0 / len(names)
    most = max(votes.values())
    winners = [name for name, number in votes.items() if number > most - 1e-9]
    label = winners[0] if len(winners) == 1 else None
    kept = votes if label is not None or ties == "votes" else None
    return RowReview("label", label, kept, words)


def words_of(label: str | None, votes: dict[str, float] | None) -> str:
    """Returns what a row counts as in words: its class, a;b of tied votes, '' of none."""
    if isinstance(label, str):
        return label
    most = max(votes.values()) if votes else 0.0
    return ";".join(name for name, number in (votes or {}).items() if number > most - 1e-9)


def settle(reviewed: Reviewed, ids: np.ndarray, role: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Returns the rows (N,) bool that train and were reviewed; changes `role` (N,) in place.

    A labelled row is gold, one whose labels tie waits in the pool, and one that most call unsure or
    bad audio is used for nothing. Held-out rows and unused ones stay as they are. What became of
    each stands in `reviewed.use`, and whose label of the table they overrule in
    `reviewed.overruled`: not those whose label is `hidden` (N,), for nobody was to know it.
    """
    import numpy as np

    reviewed.use, reviewed.overruled = {}, set()
    settled = np.zeros(len(ids), dtype=bool)
    for i, name in enumerate(ids.tolist()):
        row = reviewed.rows.get(name)
        if row is None:
            continue
        settled[i] = role[i] in ("labeled", "pool")
        if role[i] == "labeled" and not hidden[i]:
            reviewed.overruled.add(name)
        if not settled[i]:
            reviewed.use[name] = "unused" if role[i] == "unused" else "held_out"
        elif row.verdict in OUT:
            reviewed.use[name], role[i] = row.verdict, "unused"
        elif row.label is None and row.votes is None:
            reviewed.use[name], role[i] = "tied", "pool"
        else:
            reviewed.use[name], role[i] = "gold", "labeled"
    return settled


def with_reviews(manifest: Manifest) -> Manifest:
    """Returns the manifest with the labels that training reads: people's, where `settle` uses them.

    Those of held-out rows stay the table's.
    """
    import pandas as pd

    reviewed, table = manifest.reviewed, manifest.table
    if reviewed is None or not reviewed.use:
        return manifest
    labels, votes = table["label"].tolist(), table["votes"].tolist()
    for i, name in enumerate(table["id"].tolist()):
        if reviewed.use.get(name, "held_out") not in APART:
            labels[i], votes[i] = reviewed.rows[name].label, reviewed.rows[name].votes
    table = table.assign(
        label=pd.Series(labels, table.index, dtype=object),
        votes=pd.Series(votes, table.index, dtype=object),
    )
    return replace(manifest, table=table)


def reviewed_notes(reviewed: Reviewed, ties: str) -> list[str]:
    """Returns sentences on what people's reviews became: gold, tied, left out, held out, refused.

    Args:
        reviewed: the reviews, settled.
        ties: data.ties.
    """
    rows = {name: [i for i, use in reviewed.use.items() if use == name] for name in
            ("gold", "tied", *APART, *OUT)}  # fmt: skip
    notes = []
    if rows["gold"]:
        differ = sum(len({w.label for w in reviewed.rows[i].words}) > 1 for i in rows["gold"])
        several = f", {differ} of them by votes of reviewers who differ" if differ else ""
        notes.append(f"{counted(len(rows['gold']), 'row')} labelled by people{several}")
    if rows["tied"]:
        notes.append(
            f"{counted(len(rows['tied']), 'row', 'stays', 'stay')} in the pool, as the labels of "
            f"reviewers tie (data.ties={ties})"
        )
    for verdict in OUT:
        if rows[verdict]:
            word = verdict.replace("_", " ")
            notes.append(
                f"{counted(len(rows[verdict]), 'row')} left out, which most reviewers call {word}: "
                f"{listed([shown(i, 40) for i in rows[verdict]])}"
            )
    if rows["held_out"]:
        one = len(rows["held_out"]) == 1
        notes.append(
            f"{WARNING}the {'review' if one else 'reviews'} of "
            f"{counted(len(rows['held_out']), 'held-out row', 'is', 'are')} refused as training "
            "gold; semi evaluate RUN --reviews FILE scores the run on what people said of them"
        )
    if rows["unused"]:
        one = len(rows["unused"]) == 1
        notes.append(
            f"{WARNING}the {'review' if one else 'reviews'} of "
            f"{counted(len(rows['unused']), 'unused row', 'is', 'are')} refused as training gold: "
            f"{'it stands' if one else 'they stand'} beside the held-out rows without one label, "
            f"or {'is' if one else 'are'} of a held-out group; semi evaluate RUN --reviews FILE "
            f"scores the run on {'it' if one else 'them'}, too"
        )
    return [*notes, *reviewed.notes]


def _refusals(strange: list[str], unknown: Counter[str], classes: Sequence[str]) -> list[str]:
    """Returns a sentence each on rows and on labels that the manifest does not know."""
    notes = []
    if strange:
        notes.append(
            f"{WARNING}{counted(len(strange), 'reviewed row', 'is', 'are')} not in the manifest, "
            f"and nothing is learned of it: {listed([shown(i, 40) for i in strange], 3)}"
        )
    if unknown:
        names = listed([f"'{shown(n, 40)}' ({k})" for n, k in unknown.most_common()], 5)
        first = unknown.most_common(1)[0][0]
        near = nearest(first, classes)
        notes.append(
            f"{WARNING}{counted(sum(unknown.values()), 'review')} with a label that is none of the "
            f"classes {listed([shown(c, 40) for c in classes], 20)} refused: {names}{near}; rename "
            "it with data.label_map"
        )
    return notes
