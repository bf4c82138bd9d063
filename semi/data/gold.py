"""gold.csv: who gave which label to each row of a run, when, and what the machine had said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .audio import Quarantined
from .reviewed import APART, OUT, words_of
from .reviews import Review

if TYPE_CHECKING:
    import pandas as pd

    from .manifest import Manifest
    from .roles import Splits

GOLD = "gold.csv"  # in the folder of a run that learned from reviews
GOLD_COLUMNS = (
    *("id", "role", "use", "label", "source", "verdict", "said", "reviewer", "time"),
    *("machine_label", "machine_confidence", "run", "pick"),
)


def gold_table(manifest: Manifest, splits: Splits) -> pd.DataFrame:
    """Returns a row for each label that the table gave to training, and for each reviewer's word.

    Columns: see GOLD_COLUMNS and docs/formats.md. `label` is what the row counts as, `said` what
    this source said; where reviewers have the last word, the table's label is there too, unless
    it was hidden from the run.
    """
    import pandas as pd

    reviewed = manifest.reviewed
    use, rows, given = (reviewed.use, reviewed.rows, reviewed.given) if reviewed else ({}, {}, {})
    overruled = reviewed.overruled if reviewed else set()
    table, found = manifest.table, []
    cells = zip(table["id"].tolist(), table["label"].tolist(), table["votes"].tolist(), strict=True)
    for (name, label, votes), role in zip(cells, splits.role.tolist(), strict=True):
        counts = words_of(label, votes)
        if name not in use:
            if role == "labeled":
                found.append((name, role, "gold", counts, *_of_table(counts)))
            continue
        became = use[name]
        if given[name] and (became in APART or name in overruled):
            before = role if became in APART else "replaced"
            found.append((name, role, before, counts, *_of_table(given[name])))
        for word in rows[name].words:
            found.append((name, role, became, counts, "review", *_of_reviewer(word)))
    return pd.DataFrame(found, columns=list(GOLD_COLUMNS), dtype=object)


def left_out(manifest: Manifest) -> list[Quarantined]:
    """Returns the rows that reviewers took out, as the list of what cannot be used names them."""
    reviewed = manifest.reviewed
    out = {i: use for i, use in reviewed.use.items() if use in OUT} if reviewed else {}
    table = manifest.table[manifest.table["id"].isin(list(out))]
    return [
        Quarantined(i, audio if isinstance(audio, str) else "", _reason(manifest, i))
        for i, audio in zip(table["id"].tolist(), table["audio"].tolist(), strict=True)
    ]


def _reason(manifest: Manifest, name: str) -> str:
    """Returns "reviewed as bad audio by anna, ben"."""
    assert manifest.reviewed is not None  # left_out asks for reviewed rows alone
    row = manifest.reviewed.rows[name]
    who = ", ".join(w.reviewer or "somebody" for w in row.words if w.verdict == row.verdict)
    return f"reviewed as {row.verdict.replace('_', ' ')} by {who}"


def _of_table(label: str) -> tuple[str, ...]:
    return ("manifest", "label", label, *[""] * 6)


def _of_reviewer(word: Review) -> tuple[str, ...]:
    return (
        *(word.verdict, word.label, word.reviewer, word.time, word.machine_label),
        *(word.machine_confidence, word.run, word.pick),
    )
