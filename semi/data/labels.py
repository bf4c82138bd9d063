"""Labels and rater votes of a manifest: renamed, ties settled, classes found."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .alike import synonyms, twins
from .checks import Problem
from .config import DataConfig
from .unlabelled import drop_markers, unlabelled_markers
from .votes import literal, parse_votes, read_votes
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
    votes, problems = read_votes(raw, columns, rows, file)
    rename = {str(k): str(v).strip() for k, v in config.label_map.items()}
    labels: list[str | None] = [_unpacked(text) for text in table["label"].tolist()]
    problems += _objects(labels, votes, rows, file)
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
    notes += _alike(classes, Counter(labels), config.label_map)
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
    certain, possible = unlabelled_markers(counts.keys() - config.label_map.keys())
    problems = []
    for marker in certain:
        keep = setting("data.label_map", {**config.label_map, marker: marker})
        problems.append(
            Problem(
                *(file, int(rows.iloc[labels.index(marker)]), "label", marker),
                f"reads like 'no label' ({counted(counts[marker], 'row')})",
                f"{drop_markers(certain, config.label_map)} makes these rows unlabelled; "
                f"{keep} keeps it as a class",
            )
        )
    notes = []
    if possible:
        listed = ", ".join(
            f"'{shown(label, 40)}' ({counted(counts[label], 'row')})" for label in possible
        )
        notes.append(
            f"{WARNING}{listed} count{'s' * (len(possible) == 1)} as a class; if it says "
            f"'no label', set {drop_markers(possible, config.label_map)}"
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
                        f"{drop_markers([name], label_map)} (a name in place of "
                        '"" renames it)',
                    )
                )
    return problems


def _suggest(name: str, classes: list[str]) -> str:
    same = next((c for c in classes if c.lower() == name.lower()), None)
    return f"; did you mean '{same}'?" if same else nearest(name, classes)


def _unpacked(text: str | None) -> str | None:
    """Returns a label cell that holds a list, such as "['joy', 'calm']", as 'joy;calm'."""
    if text is None or text[0] != "[" or text[-1] != "]":
        return text
    listed = literal(text)
    names = listed if isinstance(listed, list) else text[1:-1].split(",")
    return ";".join(str(name).strip() for name in names if str(name).strip()) or None


def _objects(
    labels: list[str | None], votes: list[dict[str, float] | None], rows: pd.Series, file: str
) -> list[Problem]:
    """Takes labels that are objects of numbers as votes, in place; no other object is a label."""
    problems = []
    for i, text in enumerate(labels):
        if text is None or text[0] != "{" or text[-1] != "}":
            continue
        shares = parse_votes(text)
        if shares is None or votes[i] is not None:
            reason, remedy = "an object in place of a label", "write the name of the class"
            problems.append(Problem(file, int(rows.iloc[i]), "label", text, reason, remedy))
        labels[i], votes[i] = None, votes[i] or shares
    return problems


def _alike(classes: list[str], counts: Counter[str | None], label_map: dict[str, str]) -> list[str]:
    """Returns sentences about labels that may be one class, or several in one, with the setting."""
    notes = []
    for pair in twins(classes):
        keep, other = sorted(pair, key=lambda name: (-counts[name], not name.isascii(), name))
        named = f"'{shown(min(pair), 40)}' and '{shown(max(pair), 40)}'"
        notes.append(
            f"{WARNING}labels {named} differ only in case, width, blanks or signs; if they are one "
            f"class {_mapped({other: keep}, label_map)}"
        )
    for name in classes:
        parts = [part for part in re.split(r"\s*[,/|+&]\s*", name) if part]
        if len(parts) > 1 and set(parts) <= set(classes) - {name}:
            notes.append(
                f"{WARNING}label '{shown(name, 40)}' ({counted(counts[name], 'row')}) names "
                "several of the other labels; if these rows have them all "
                f"{_mapped({name: ';'.join(parts)}, label_map)}"
            )
    for group in synonyms(classes):
        keep, *others = sorted(group, key=lambda name: (-counts[name], name))
        named = ", ".join(f"'{shown(name, 40)}'" for name in group)
        notes.append(
            f"labels {named} may be words for one emotion; if they are one class "
            f"{_mapped(dict.fromkeys(others, keep), label_map)}"
        )
    return notes


def _mapped(renamed: dict[str, str], label_map: dict[str, str]) -> str:
    """Returns the setting that renames labels, if it is short enough to be pasted."""
    if max(map(len, renamed)) > 100:
        return "write it otherwise in the table"
    return f"set {setting('data.label_map', {**label_map, **renamed})}"
