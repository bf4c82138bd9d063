"""The two accounts of a run that people and reports read: result.json, and each round's round.json.

What they must hold stands here alone. Runs of any version are read, also without checksums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import ANEW
from ..shapes import NUMBER, read_shaped
from .intervals import Interval

RESULT, ROUND = "result.json", "round.json"

INTERVAL = {
    "value": NUMBER, "low": NUMBER, "high": NUMBER, "se": NUMBER, "unit": str, "units": int,
    "note?": str, "p_value?": NUMBER, "kind?": str,
}  # fmt: skip
INTERVALS = ({str: INTERVAL}, None)
AFFECT_METRICS = {
    "rows?": int, "ccc": NUMBER, "pearson": NUMBER, "rmse": NUMBER, "intervals?": INTERVALS,
}  # fmt: skip
PER_CLASS = ("precision", "recall", "f1", "support")
METRICS = {
    "rows?": int,
    **{
        f"{name}?": NUMBER
        for name in ("accuracy", "waf", "macro_f1", "uar", "micro_f1", "sample_f1", "exact", "ccc",
                     "recall_std", "ece", "brier", "nll", "aurc")
    },
    "classes?": [str],
    **{f"{name}?": [NUMBER] for name in PER_CLASS},
    "confusion?": [[int]],
    "intervals?": INTERVALS,
    "affect?": ({str: AFFECT_METRICS}, None),
}  # fmt: skip
PRECISIONS = ({str: {"precision?": NUMBER}}, None)
PSEUDO = {
    "precision?": NUMBER, "coverage?": NUMBER, "by_class?": PRECISIONS, "per_class?": PRECISIONS,
    "curve?": ([{"coverage": NUMBER, "precision": NUMBER}], None),
}  # fmt: skip
ROUND_SHAPE = {
    "round": int,
    "rule?": (str, None),
    "coverage_asked": NUMBER,
    "added?": (int, None),
    "accepted": bool,
    "alone?": bool,
    "verdict": str,
    "gate?": ({"metric?": str, "value?": NUMBER, "se?": NUMBER}, None),
    "metrics_oof": METRICS,
    "metrics_dev": (METRICS, None),
    "metrics_test": (METRICS, None),
    "reliability?": ([{"confidence": NUMBER, "accuracy": NUMBER, "rows": int}], None),
    "risk_coverage?": ([{"coverage": NUMBER, "risk": NUMBER}], None),
    "class_mix?": ({str: float}, None),
    "pseudo?": (PSEUDO, None),
    "confidence?": ({"as_seen": NUMBER, "calibrated": NUMBER, "gap": float}, None),
    "notes?": ([str], None),
    "floor?": (
        [
            {
                "model": str,
                "strength": str,
                "metric": NUMBER,
                "se": NUMBER,
                "standing": NUMBER,
                "starts": bool,
            }
        ],
        None,
    ),
}
PARTS = ("metrics_oof", "metrics_dev", "metrics_test")
SHOWN_SHAPE = {f"{name.removesuffix('?')}?": shape for name, shape in ROUND_SHAPE.items()}
SHOWN_SHAPE |= {f"{part}?": (METRICS, None) for part in PARTS}
RESULT_SHAPE = {
    "best_round": int,
    "stopped?": str,
    "rounds?": int,
    "sentence?": str,
    "notes?": ([str], None),
    "leaks?": ([object], {str: object}, str, None),
    "quarantined?": (int, None),
    "gold_rows?": (int, None),
    "pool_rows?": (int, None),
    "group_kind?": (str, None),
    "warm_start?": NUMBER,
    "final?": NUMBER,
    "gain?": ({str: {"start": NUMBER, "final": NUMBER, "difference": INTERVAL}}, None),
}


def interval_of(saved: dict[str, Any]) -> Interval:
    """Returns an interval that fits INTERVAL, also of a version that wrote more or less of it."""
    return Interval(**{f.name: saved[f.name] for f in fields(Interval) if f.name in saved})


def read_result(run: str | Path) -> dict[str, Any] | None:
    """Returns a run's result.json, None where it is not finished."""
    return read_shaped(Path(run, RESULT), RESULT_SHAPE)


def read_round_record(folder: str | Path) -> dict[str, Any]:
    """Returns the round.json of a finished round's folder."""
    path = Path(folder, ROUND)
    record = _read(path, ROUND_SHAPE)
    for part in PARTS:
        if record[part] is not None and "rows" not in record[part]:
            raise RunError(f"{path} lacks the entry {part}.rows; {ANEW}")
    return record


def round_records(run: str | Path) -> list[dict[str, Any]]:
    """Returns the round.json of every finished round of a run, in order."""
    return [read_round_record(path.parent) for path in _written(run)]


def shown_records(run: str | Path) -> list[dict[str, Any]]:
    """Returns what there is to show of every finished round, in order; any entry may be missing."""
    return [_read(path, SHOWN_SHAPE) for path in _written(run)]


def _written(run: str | Path) -> list[Path]:
    return sorted(Path(run).glob(f"round-*/{ROUND}"))


def _read(path: Path, shape: dict) -> dict[str, Any]:
    record = read_shaped(path, shape)
    if record is None:
        raise RunError(f"{path} is missing; {ANEW}")
    for part in PARTS:
        if wrong := _uneven(record.get(part) or {}):
            raise RunError(f"{path} has in its entry {part}.{wrong}; {ANEW}")
    return record


def _uneven(metrics: dict[str, Any]) -> str:
    """Returns which list is not as long as there are classes, or ''."""
    count = len(metrics.get("classes") or [])

    def of_all(values: Sequence[Any]) -> bool:
        return len(values) == count

    if "f1" in metrics and (lacking := {"classes", *PER_CLASS} - metrics.keys()):
        return f"f1 no {min(lacking)} beside it"
    for name in PER_CLASS:
        if metrics.get(name) is not None and not of_all(metrics[name]):
            return f"{name} {len(metrics[name])} numbers of {count} classes"
    table = metrics.get("confusion")
    if table and not (of_all(table) and all(of_all(row) for row in table)):
        return f"confusion no table of {count} x {count} classes"
    return ""
