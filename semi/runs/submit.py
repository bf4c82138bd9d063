"""`semi submit`: one label for every utterance, as challenges want it: name,discrete[,valence]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.config import DataConfig
from ..data.corpora.files import tally
from ..data.manifest import Manifest, load_manifest
from ..data.wording import counted, shown
from ..errors import RunError
from ..evaluation.run_json import read_round_record
from ..features.remote import store_there
from ..files import read_table, write_table
from ..self_training.integrity import check_run
from ..self_training.run_dir import Run
from .predict import load
from .reopen import result_of

if TYPE_CHECKING:
    import pandas as pd

TESTS = r"test\d*_corpus|candidates"  # in the column corpus of a challenge's manifest
GUESSES_SHOWN = 20  # rows without an answer that are printed


@dataclass
class Submission:
    """What was written."""

    path: str
    rows: int
    guessed: dict[str, str] = field(default_factory=dict)  # id -> why nothing could be said
    guess: str = ""  # the label those rows got
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # which rows these are, in sentences

    def __str__(self) -> str:
        """Returns the count, which rows these are, and every row that had to be guessed."""
        lines = [
            f"{self.path}: {counted(self.rows, 'row')} of {','.join(self.columns)}",
            *self.notes,
        ]
        if self.guessed:
            lines.append(
                f"{len(self.guessed)} of them cannot be read and got '{self.guess}', the largest "
                "class of the gold training rows:"
            )
            lines += [f"  {i}: {why}" for i, why in list(self.guessed.items())[:GUESSES_SHOWN]]
            if len(self.guessed) > GUESSES_SHOWN:
                lines.append(f"  ... and {len(self.guessed) - GUESSES_SHOWN} more")
        return "\n".join(lines)


def submit(
    run: str | Path, output: str | Path = "submission.csv", *, manifest: str | Path | None = None,
    progress: bool = False, places: Sequence[str] = (),
) -> Submission:  # fmt: skip
    """Writes the run's label of every row, each exactly once, in the manifest's order.

    The rows are those that a manifest declares as test, labelled or not, and no others: by split,
    and in a challenge by corpus, also where its unlabelled tests are in the pool. RunError
    where a challenge's manifest declares none, or where not one of them can be read.

    Args:
        run: a finished run.
        output: CSV file, written whole.
        manifest: utterances to label, its test rows alone where its column split says test; None =
            those of the run's own manifest.
        progress: show a bar while features are extracted.
        places: where the run's data are now, such as data.manifest=moved/table.csv.
    """
    import pandas as pd

    opened = Run.open(run, places)
    result = result_of(opened)
    check_run(run)
    if opened.config.task.kind == "affect":
        raise RunError(
            f"{opened.path} has task.kind=affect and says no label, which a submission must have; "
            "semi predict writes valence and arousal"
        )
    table, notes = _rows(opened, manifest)
    predictor = load(run)
    config = predictor.model.config
    if manifest is None:
        config.data = opened.config.data
    else:
        config.data.manifest, config.data.audio_root = str(manifest), ""
    store = store_there(config.features.store)
    answers = predictor.predict(table, store=store, progress=progress)
    guess, lost = _largest(opened, result), answers["label"].isna().to_numpy()
    if lost.all():
        first = f"{shown(table['id'].iloc[0])}: {answers['note'].iloc[0]}"
        raise RunError(
            f"none of the {counted(len(table), 'row')} to submit can be read, so every answer "
            f"would be '{shown(guess)}'; the first, {first}"
        )
    if answers["id"].astype(str).tolist() != table["id"].astype(str).tolist():
        raise RuntimeError("the answers are not in the manifest's order")
    why = dict(zip(answers["id"][lost], answers["note"][lost], strict=True))
    columns = _columns(answers, guess)
    write_table(output, pd.DataFrame(columns))
    return Submission(str(output), len(table), why, guess, list(columns), notes)


def _columns(answers: Any, guess: str) -> dict[str, Any]:
    """Returns name, discrete and, where the model gives it, valence; `guess` where it is silent."""
    labels = [name if isinstance(name, str) else guess for name in answers["label"].tolist()]
    out: dict[str, Any] = {"name": answers["id"].astype(str).to_numpy(), "discrete": labels}
    if "valence" in answers:
        value = answers["valence"].to_numpy(dtype=float)
        middle = float(np.nanmean(value)) if np.isfinite(value).any() else 0.0
        out["valence"] = np.where(np.isnan(value), middle, value)
    return out


def _rows(run: Run, path: str | Path | None) -> tuple[Any, list[str]]:
    """Returns the table to label, every row once, and which rows these are."""
    if path is not None:
        table = load_manifest(path, DataConfig(manifest=str(path))).table
        rows = _is_test(table)
        notes = [_declared(str(path), table, rows)] if rows.any() else []
        rows = rows | (not rows.any())
    else:
        config = run.config
        run.need_manifest()
        manifest: Manifest = load_manifest(config.data.manifest, config.data)
        run.bind_manifest(manifest.sha256)
        table = manifest.table
        rows, notes = _test_rows(run, manifest)
    table = table[rows].reset_index(drop=True)
    twice = [i for i, n in Counter(list(table["id"])).items() if n > 1]
    if twice:
        raise RunError(f"id '{shown(twice[0])}' occurs twice")
    return table, notes


def _test_rows(run: Run, manifest: Manifest) -> tuple[np.ndarray, list[str]]:
    """Returns where the manifest says test, labelled or not; else the rows held out by the run."""
    table = manifest.table
    declared = _is_test(table)
    if declared.any():
        return declared, [_declared(manifest.path, table, declared)]
    roles = _roles(table)
    if any(role.endswith("_corpus") for role in roles):
        raise RunError(
            f"{manifest.path} declares no tests and no candidates ({tally(roles)}), so there is "
            "nothing to submit; put the challenge's list of them into the folder and run semi "
            "manifest again, or name the rows with --manifest m.csv"
        )
    splits = read_table(run.path / "splits.csv", ("id", "role"))
    held = splits.loc[splits["role"] == "test", "id"].tolist()
    drawn = table["id"].isin(held).to_numpy()
    if not drawn.any():
        raise RunError(
            f"{run.path} has no test rows in its manifest; name the rows with --manifest m.csv"
        )
    return drawn, [
        f"the manifest declares no test rows: these are {counted(drawn.sum(), 'labelled row')} "
        "that the run itself held out"
    ]


def _is_test(table: pd.DataFrame) -> np.ndarray:
    """Returns which rows (N,) are to be answered: a challenge's tests also when in its pool."""
    rows = (table["split"] == "test").to_numpy()
    if "corpus" in table:
        rows = rows | table["corpus"].astype(str).str.fullmatch(TESTS).to_numpy(dtype=bool)
    return rows


def _declared(path: str, table: pd.DataFrame, rows: np.ndarray) -> str:
    """Returns the sentence on the declared test rows of a table."""
    roles = _roles(table.loc[rows])
    rest = f"; its other {counted((~rows).sum(), 'row')} left out as no tests" * (not rows.all())
    return f"the rows that {path} declares as test" + f" ({tally(roles)})" * bool(roles) + rest


def _roles(table: pd.DataFrame) -> Counter[str]:
    """Returns how many rows each role of a challenge has; none in other tables."""
    return Counter(table["corpus"].dropna().astype(str)) if "corpus" in table else Counter()


def _largest(run: Run, result: dict) -> str:
    """Returns the largest class of the gold training rows."""
    record = read_round_record(run.round_dir(result["best_round"]))["metrics_oof"]
    return record["classes"][int(np.argmax(record["support"]))]
