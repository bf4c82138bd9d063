"""`semi submit`: one label for every utterance, as challenges want it: name,discrete[,valence]."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.config import DataConfig
from ..data.manifest import Manifest, load_manifest
from ..errors import RunError
from ..files import read_json, write_table
from ..self_training.integrity import check_run
from ..self_training.run_dir import Run
from .predict import load
from .reopen import result_of

SHOWN = 20  # rows without an answer that are printed


@dataclass
class Submission:
    """What was written."""

    path: str
    rows: int
    guessed: dict[str, str] = field(default_factory=dict)  # id -> why nothing could be said
    guess: str = ""  # the label those rows got
    columns: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the count and every row that had to be guessed."""
        lines = [f"{self.path}: {self.rows} rows of {','.join(self.columns)}"]
        if self.guessed:
            lines.append(
                f"{len(self.guessed)} of them cannot be read and got '{self.guess}', the largest "
                "class of the gold training rows:"
            )
            lines += [f"  {i}: {why}" for i, why in list(self.guessed.items())[:SHOWN]]
            if len(self.guessed) > SHOWN:
                lines.append(f"  ... and {len(self.guessed) - SHOWN} more")
        return "\n".join(lines)


def submit(
    run: str | Path, output: str | Path = "submission.csv", *, manifest: str | Path | None = None,
    progress: bool = False, places: Sequence[str] = (),
) -> Submission:  # fmt: skip
    """Writes the run's label of every row, each exactly once, in the manifest's order.

    Args:
        run: a finished run.
        output: CSV file, written whole.
        manifest: utterances to label; None = the test rows of the run's own manifest.
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
    table = _rows(opened, manifest)
    predictor = load(run)
    config = predictor.model.config
    if manifest is None:
        config.data = opened.config.data
    else:
        config.data.manifest, config.data.audio_root = str(manifest), ""
    store = config.features.store if os.path.isdir(config.features.store) else None
    answers = predictor.predict(table, store=store, progress=progress)
    guess = _largest(opened, result)
    lost = answers["label"].isna().to_numpy()
    labels = [guess if gone else name for name, gone in zip(answers["label"], lost, strict=True)]
    ids = table["id"].astype(str)
    out: dict[str, Any] = {"name": ids.to_numpy(), "discrete": labels}
    if "valence" in answers:
        value = answers["valence"].to_numpy(dtype=float)
        middle = float(np.nanmean(value)) if np.isfinite(value).any() else 0.0
        out["valence"] = np.where(np.isnan(value), middle, value)
    if answers["id"].astype(str).tolist() != ids.tolist():
        raise RuntimeError("the answers are not in the manifest's order")
    why = dict(zip(answers["id"][lost], answers["note"][lost], strict=True))
    write_table(output, pd.DataFrame(out))
    return Submission(str(output), len(table), why, guess, list(out))


def _rows(run: Run, path: str | Path | None) -> Any:
    """Returns the table to label, every row once."""
    if path is not None:
        table = load_manifest(path, DataConfig(manifest=str(path))).table
    else:
        config = run.config
        run.need_manifest()
        manifest: Manifest = load_manifest(config.data.manifest, config.data)
        run.bind_manifest(manifest.sha256)
        table = manifest.table[_test_rows(run, manifest)].reset_index(drop=True)
        if not len(table):
            raise RunError(
                f"{run.path} has no test rows in its manifest; name the rows with --manifest m.csv"
            )
    twice = [i for i, n in Counter(list(table["id"])).items() if n > 1]
    if twice:
        raise RunError(f"id '{twice[0]}' occurs twice")
    return table


def _test_rows(run: Run, manifest: Manifest) -> np.ndarray:
    """Returns where the manifest says test, labelled or not; else the rows held out by the run."""
    import pandas as pd

    declared = (manifest.table["split"] == "test").to_numpy()
    if declared.any():
        return declared
    splits = pd.read_csv(run.path / "splits.csv", dtype=str, keep_default_na=False)
    return (splits["role"] == "test").to_numpy()


def _largest(run: Run, result: dict) -> str:
    """Returns the largest class of the gold training rows."""
    record = read_json(run.round_dir(result["best_round"]) / "round.json")["metrics_oof"]
    return record["classes"][int(np.argmax(record["support"]))]
