"""Labels and rater votes of a manifest: renamed, ties settled, classes found."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import missing
from .checks import Problem
from .config import DataConfig
from .wording import WARNING, counted, nearest, setting, shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Labels:
    """The label columns of a manifest after renaming and settling ties."""

    label: pd.Series  # (N,) object: one class, or None (unlabelled, or tied votes)
    votes: pd.Series  # (N,) object: {class: votes} or None
    classes: list[str]
    used: list[str]  # raw columns consumed: votes and votes_<class>
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unlabelled: Counter[str] = field(default_factory=Counter)  # what rows without a label say


def read_labels(
    raw: pd.DataFrame, table: pd.DataFrame, config: DataConfig, rows: pd.Series, file: str
) -> Labels:
    """Returns one label and/or the votes of every row; a label 'a;b' is a tie (`config.ties`)."""
    import pandas as pd

    columns = [name for name in raw.columns if name.lower().startswith("votes_")]
    votes, problems = _vote_cells(raw, columns, rows, file)
    rename = {str(k): str(v).strip() for k, v in config.label_map.items()}
    labels: list[str | None] = table["label"].tolist()
    bad, notes = _markers(labels, config, rows, file)
    problems += bad
    parts = {text: _parts(text, rename) for text in set(labels) if text is not None}
    votes = [None if shares is None else _renamed(shares, rename) for shares in votes]
    tied, dropped = _settle(labels, votes, parts, config.ties)
    unlabelled = _spelled(raw, labels, votes)
    if tied:
        done = "count as unlabelled" if config.ties == "drop" else "carry their votes"
        notes.append(f"{counted(tied, 'row')} with tied labels {done} (data.ties={config.ties})")
    if dropped:
        notes.append(
            f"{counted(dropped, 'row', 'loses its', 'lose their')} label through data.label_map to "
            "join the pool"
        )
    named = sorted({name for name in labels if name is not None})
    given = {name for shares in votes if shares for name in shares}
    if config.ties == "votes" and not config.classes:
        tied_votes = [v for i, v in enumerate(votes) if v and labels[i] is None]
        winners = {n for v in tied_votes for n, count in v.items() if count == max(v.values())}
        named = sorted({*named, *winners})  # a class may be named from ties alone
    classes = [str(c) for c in config.classes] or [str(c) for c in named]
    if config.classes:
        problems += _unknown(labels, votes, classes, rows, file, config.label_map)
    elif given - set(classes):
        names = ", ".join(shown(n, 40) for n in sorted(given - set(classes)))
        notes.append(f"votes for {names} are left out: no row has that label")
        for i, shares in enumerate(votes):
            if shares:
                votes[i] = {k: n for k, n in shares.items() if k in classes} or None
    notes += _case_notes(classes, config.label_map)
    return Labels(
        pd.Series(labels, dtype=object),
        pd.Series(votes, dtype=object),
        classes,
        ["votes", *columns],
        problems,
        notes,
        unlabelled,
    )


def _markers(
    labels: list[str | None], config: DataConfig, rows: pd.Series, file: str
) -> tuple[list[Problem], list[str]]:
    """Returns problems of labels that say "no label", and notes of those that may say it.

    What data.classes or data.label_map name is somebody's decision and passes.
    """
    if config.classes:
        return [], []  # what is none of them is refused anyway
    counts = Counter(label for label in labels if label is not None)
    certain, possible = missing.unlabelled_markers(counts.keys() - config.label_map.keys())
    problems = []
    for marker in certain:
        keep = setting("data.label_map", {**config.label_map, marker: marker})
        problems.append(
            Problem(
                *(file, int(rows.iloc[labels.index(marker)]), "label", marker),
                f"reads like 'no label' ({counted(counts[marker], 'row')})",
                f"{missing.drop_markers(certain, config.label_map)} makes these rows unlabelled; "
                f"{keep} keeps it as a class",
            )
        )
    notes = []
    if possible:
        listed = ", ".join(
            f"'{shown(label, 40)}' ({counted(counts[label], 'row')})" for label in possible
        )
        notes.append(
            f"{listed} count{'s' * (len(possible) == 1)} as a class; if it says 'no label', set "
            f"{missing.drop_markers(possible, config.label_map)}"
        )
    return problems, notes


def _spelled(
    raw: pd.DataFrame, labels: list[str | None], votes: list[dict[str, float] | None]
) -> Counter[str]:
    """Returns how often rows that end without a label say what instead of one."""
    if "label" not in raw:
        return Counter()
    cells = raw["label"].tolist()
    spellings = (
        "empty" if cell is None or not str(cell).strip() else str(cell).strip()
        for cell, label, shares in zip(cells, labels, votes, strict=True)
        if label is None and not shares
    )
    return Counter(spellings)


def _settle(
    labels: list[str | None],
    votes: list[dict[str, float] | None],
    parts: dict[str, list[str]],
    ties: str,
) -> tuple[int, int]:
    """Gives every row its one label, or votes where several tie, in place.

    Returns how many rows are tied, and how many lost their label through data.label_map.
    """
    tied = dropped = 0
    for i, text in enumerate(labels):
        shares = votes[i]
        if text is not None:
            names = parts[text]
            labels[i] = names[0] if len(names) == 1 else None
            if not names:
                dropped += 1
                votes[i] = None
            elif len(names) > 1:
                tied += 1
                if ties == "drop":
                    votes[i] = None
                elif shares is None:
                    votes[i] = {name: 1.0 for name in names}
        elif shares:
            best = max(shares.values())
            winners = [name for name, n in shares.items() if n == best]
            labels[i] = winners[0] if len(winners) == 1 else None
            if len(winners) > 1:
                tied += 1
                if ties == "drop":
                    votes[i] = None
    return tied, dropped


def _parts(text: str, rename: dict[str, str]) -> list[str]:
    """Returns the classes named in a label cell, renamed, without repeats and dropped ones."""
    if text in rename:
        text = rename[text]
    names = [rename.get(p.strip(), p.strip()) for p in text.split(";")]
    return list(dict.fromkeys(name for name in names if name))


def _renamed(votes: dict[str, float], rename: dict[str, str]) -> dict[str, float] | None:
    out: dict[str, float] = {}
    for name, count in votes.items():
        name = rename.get(name, name)
        if name and count > 0:
            out[name] = out.get(name, 0.0) + count
    return out or None


def _vote_cells(
    raw: pd.DataFrame, columns: list[str], rows: pd.Series, file: str
) -> tuple[list[dict[str, float] | None], list[Problem]]:
    votes: list[dict[str, float] | None] = [None] * len(raw)
    problems: list[Problem] = []
    cells = raw["votes"].tolist() if "votes" in raw else [None] * len(raw)
    remedy = 'write {"happy": 3, "sad": 1} or happy;happy;sad, with counts of 0 or more'
    for i, cell in enumerate(cells):
        if cell is None or (isinstance(cell, str) and cell.strip() in missing.MISSING):
            continue
        votes[i] = _parse_votes(cell)
        if votes[i] is None:
            row = int(rows.iloc[i])
            problems.append(Problem(file, row, "votes", str(cell), "not readable as votes", remedy))
    for column in columns:
        name = column[len("votes_") :]
        for i, cell in enumerate(raw[column].tolist()):
            if cell is None or str(cell).strip() in missing.MISSING:
                continue
            count = _count(cell)
            if count is None:
                row = int(rows.iloc[i])
                remedy_count = "write a count of 0 or more, or leave the cell empty"
                reason = "not a number of votes"
                problems.append(Problem(file, row, column, str(cell), reason, remedy_count))
            elif count > 0:
                shares = votes[i] or {}
                shares[name] = shares.get(name, 0.0) + count
                votes[i] = shares
    return votes, problems


def _parse_votes(cell: object) -> dict[str, float] | None:
    """Returns {class: count} of a JSON object, a list, or names joined by ';' or '|', else None."""
    if isinstance(cell, str):
        text = cell.strip()
        if text.startswith(("{", "[")):
            try:
                cell = json.loads(text)
            except json.JSONDecodeError:
                return None
        else:
            cell = [part.strip() for part in re.split(r"[;|]", text) if part.strip()]
    if isinstance(cell, list):
        out: dict[str, float] = {}
        for name in cell:
            out[str(name)] = out.get(str(name), 0.0) + 1.0
        return out or None
    if not isinstance(cell, dict):
        return None
    counts = {str(k).strip(): _count(v) for k, v in cell.items() if v is not None}
    if any(v is None for v in counts.values()):
        return None
    return {k: v for k, v in counts.items() if v}


def _count(value: Any) -> float | None:
    try:
        count = float(value)
    except (TypeError, ValueError):
        return None
    return count if math.isfinite(count) and count >= 0 else None


def _unknown(
    labels: list[str | None],
    votes: list[dict[str, float] | None],
    classes: list[str],
    rows: pd.Series,
    file: str,
    label_map: dict[str, str],
) -> list[Problem]:
    problems = []
    known = set(classes)
    names = ", ".join(shown(c, 40) for c in classes[:20]) + " ..." * (len(classes) > 20)
    near: dict[str, str] = {}
    for i, (label, shares) in enumerate(zip(labels, votes, strict=True)):
        given = [label] if label is not None else []
        for column, values in (("label", given), ("votes", shares or {})):
            for name in values:
                if name in known or (column == "votes" and name == label):
                    continue
                if name not in near:
                    near[name] = _suggest(name, classes)
                problems.append(
                    Problem(
                        file,
                        int(rows.iloc[i]),
                        column,
                        name,
                        f"not one of the classes {names}{near[name]}",
                        "correct it, add it to data.classes, or drop it with "
                        f"{missing.drop_markers([name], label_map)} (a name in place of "
                        '"" renames it)',
                    )
                )
    return problems


def _suggest(name: str, classes: list[str]) -> str:
    same = next((c for c in classes if c.lower() == name.lower()), None)
    return f"; did you mean '{same}'?" if same else nearest(name, classes)


def _case_notes(classes: list[str], label_map: dict[str, str]) -> list[str]:
    return [
        f"{WARNING}labels '{shown(other, 40)}' and '{shown(name, 40)}' differ only in case, width "
        "or blanks; if they are one class set "
        + setting("data.label_map", {**label_map, shown(other, 100): shown(name, 100)})
        for other, name in missing.twins(classes)
    ]
