"""Scores of a run by the values of a manifest's column: of each corpus, speaker or sex apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.wording import listed, nearest, shown
from ..errors import RunError, SemiError
from ..files import read_json
from ..self_training.run_dir import Run
from .predictions import Predictions
from .reopen import ENSEMBLE
from .scores import main_metric, score_rows


def is_ensemble(path: str) -> bool:
    """Says whether a folder is of several runs together."""
    return Path(path, ENSEMBLE).is_file()


def by_value(path: str, predictions: Predictions, column: str) -> dict[str, Any]:
    """Returns {value: [rows, score]} of the test rows by the values of a column."""
    table = manifest_of(path)
    if table is None:
        raise RunError(
            f"{path}: its manifest is not at hand, so nothing is known of {shown(column)}"
        )
    if column not in table:
        raise RunError(
            f"{path}: its manifest has no column {shown(column)}"
            f"{nearest(column, list(table.columns))}; it has "
            f"{listed([shown(name, 40) for name in table.columns], 30)}"
        )
    table = table.set_index("id").reindex(predictions.ids)  # the file has an order of its own
    values = table[column].astype(object).where(table[column].notna(), "(none)").astype(str)
    rows, parts = predictions.scored("test"), {}
    name = main_metric(predictions.kind)
    for value in sorted(set(values.iloc[rows])):
        part = rows[(values.iloc[rows] == value).to_numpy()]
        score = score_rows(predictions, part)
        interval = score.intervals.get(name)
        ends = (interval.low, interval.high) if interval else (None, None)
        parts[value] = dict(
            zip(("rows", "value", "low", "high"), (len(part), score.metrics.get(name), *ends),
                strict=True)
        )  # fmt: skip
    return {"run": predictions.name, "metric": name, "kind": predictions.kind, "parts": parts}


def manifest_of(path: str) -> Any:
    """Returns the manifest's table of a run, or of the first run of an ensemble; None if gone."""
    from ..data.manifest import load_manifest

    while is_ensemble(path):
        path = read_json(Path(path, ENSEMBLE))["members"][0]
    config = Run.open(path).config
    try:
        return load_manifest(config.data.manifest, config.data).table
    except (SemiError, OSError):
        return None
