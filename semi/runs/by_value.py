"""Scores of a run by the values of a manifest's column: of each corpus, speaker or sex apart."""

from __future__ import annotations

from typing import Any

from ..data.wording import listed, nearest, shown
from ..errors import RunError, SemiError
from ..self_training.run_dir import Run
from .ensemble_folder import is_ensemble, read_ensemble
from .predictions import Predictions
from .scores import main_metric, score_rows


def by_value(path: str, predictions: Predictions, column: str) -> dict[str, Any]:
    """Returns {value: rows, score, interval} of the test rows by the values of a column."""
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
            zip(("rows", "value", "low", "high", "over"),
                (len(part), score.metrics.get(name), *ends, score.units), strict=True)
        )  # fmt: skip
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
