"""Scores of a run by the values of a manifest's column: of each corpus, speaker or sex apart."""

from __future__ import annotations

from math import isnan
from typing import Any

from ..data.wording import listed, nearest, shown
from ..errors import RunError, SemiError
from ..evaluation.by_group import LEAST_ROWS, scores_of
from ..self_training.run_dir import Run
from .ensemble_folder import is_ensemble, read_ensemble
from .evaluate_by import answers_of
from .predictions import Predictions
from .scores import main_metric


def by_value(path: str, predictions: Predictions, column: str) -> dict[str, Any]:
    """Returns {value: rows, score, interval} of the test rows by the values of a column.

    Scores are those of `semi evaluate --by`: means over the classes that a group has rows of, and
    no interval of fewer than LEAST_ROWS rows.
    """
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
        score = scores_of(answers_of(predictions, part, ""))[name]
        few = len(part) < LEAST_ROWS
        parts[value] = {
            "rows": len(part),
            "value": None if isnan(score.value) else score.value,
            "low": None if few or isnan(score.low) else score.low,
            "high": None if few or isnan(score.high) else score.high,
            "over": "" if few else score.over(),
        }
    return {"run": predictions.name, "metric": name, "kind": predictions.kind, "parts": parts}


def manifest_of(path: str) -> Any:
    """Returns the manifest's table of a run, or of the first run of an ensemble; None if gone."""
    from ..data.manifest import load_manifest

    seen = {path}
    while is_ensemble(path):
        path = next(iter(read_ensemble(path)["members"]), "")
        if path in seen:
            raise RunError(f"{path} is a member of itself; make that ensemble anew")
        seen.add(path)
    config = Run.open(path).config
    try:
        return load_manifest(config.data.manifest, config.data).table
    except (SemiError, OSError):
        return None
