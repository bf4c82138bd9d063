"""What was understood of a table: one block, the same for every command."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .headers import LISTED
from .wording import WARNING, counted, setting, shown

AFFECT_COMMAND = "task.kind=affect"  # recipe auto sets what else the task needs
WIDTH = 8  # labels and spellings told with their counts; the rest is counted
HINT = f"valence or arousal: add {AFFECT_COMMAND}"


@dataclass
class Reading:
    """How the rows and columns of a table were understood; `str()` is the block that is printed."""

    file: str
    kind: str = ""  # such as "comma, utf-8"
    rows: int = 0  # read
    total: int = 0  # in the file, those that were refused among them
    named: dict[str, str] = field(default_factory=dict)  # header -> name in COLUMNS
    rivals: dict[str, list[str]] = field(default_factory=dict)  # name -> other headers it could be
    carried: list[str] = field(default_factory=list)  # columns kept as they are
    ignored: list[str] = field(default_factory=list)  # columns that are not read
    milliseconds: list[str] = field(default_factory=list)  # names in COLUMNS that are in ms
    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: Counter[str] = field(default_factory=Counter)  # what such rows say
    gold: bool = True  # whether labels were read
    notes: list[str] = field(default_factory=list)  # what was decided, and what is odd

    def __str__(self) -> str:
        """Returns the block; never more than a line for each kind of thing."""
        kind = f" ({self.kind})" if self.kind else ""
        lines = [f"read {self.file}{kind}: {self.rows} of {counted(self.total, 'row')}"]
        own = [name for header, name in self.named.items() if header == name]
        units = {name: f"{name} (ms)" for name in self.milliseconds}
        own = [units.get(name, name) for name in own]
        other = [
            f"{shown(h, 40)} -> {units.get(name, name)}"
            for h, name in self.named.items()
            if h != name
        ]
        columns = [", ".join([*own, *other]) or "none known"]
        for word, names in (("carried along", self.carried), ("ignored", self.ignored)):
            if names:
                columns.append(f"{word}: {_some(names)}")
        lines.append("  columns: " + "; ".join(columns))
        lines += [f"  {name} <- {self._choice(name)}" for name in self.rivals if self._choice(name)]
        if self.gold:
            lines.append("  labels: " + (_counts(self.labels) or "none"))
            if self.unlabelled:
                count = sum(self.unlabelled.values())
                lines.append(f"  unlabelled: {counted(count, 'row')} ({_counts(self.unlabelled)})")
        notes = [f"  {'' if n.startswith(WARNING) else 'note: '}{n}" for n in self.notes]
        return "\n".join([*lines, *notes])

    def _choice(self, name: str) -> str:
        """Returns which header was taken for `name`, and how to take another."""
        others = self.rivals[name]
        if not others:
            return ""
        header = next(h for h, canonical in self.named.items() if canonical == name)
        choose = setting("data.columns", {name: others[0]})
        return f"{shown(header, 40)} (also there: {_some(others)}; choose with {choose})"


def _counts(counts: Counter[str]) -> str:
    """Returns "joy 12, anger 3 and 2 more": the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    more = f" and {len(ordered) - WIDTH} more" if len(ordered) > WIDTH else ""
    return ", ".join(f"{shown(name, 40)} {n}" for name, n in ordered[:WIDTH]) + more


def _some(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(shown(name, 40) for name in names[:LISTED]) + more


def odd_labels(labels: Counter[str], header: str, measured: int) -> list[str]:
    """Returns sentences about labels that are hardly classes.

    Args:
        labels: rows of each label.
        header: the column they come from.
        measured: rows with valence or arousal.
    """
    if not labels and measured:
        return [f"no row has a label, but {measured} have {HINT}"]
    decimals = [label for label in labels if _is_decimal(label)]
    if len(decimals) >= 5 and 2 * len(decimals) > len(labels):
        numbers = setting("data.columns", {"valence": header, "label": ""})
        return [
            f"{len(decimals)} of {counted(len(labels), 'label')} are decimal numbers: if they are "
            f"scores and no classes, learn them as valence: add {AFFECT_COMMAND} {numbers}"
        ]
    if len(labels) > 20 and 2 * len(labels) > sum(labels.values()):
        return [
            f"{counted(len(labels), 'label')} on {counted(sum(labels.values()), 'row')}: if these "
            "are no classes, name the column that holds them: "
            f"{setting('data.columns', {'label': 'OTHER'})}"
        ]
    return []


def _is_decimal(label: str) -> bool:
    try:
        return not float(label.replace(",", ".")).is_integer()
    except (ValueError, OverflowError):
        return False
