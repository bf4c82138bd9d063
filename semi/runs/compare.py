"""`semi compare`: one table over finished runs: protocol, scores, size, speed, significance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.wording import counted
from ..errors import RunError, SemiError
from ..evaluation.holm import holm
from ..evaluation.run_json import interval_of, read_result, round_records
from ..files import read_table, write_table
from ..hub_names import refuse_hub_name
from ..self_training.run_dir import Run
from .by_value import by_value, manifest_of
from .comparison import Comparison
from .ensemble_folder import is_ensemble, read_ensemble
from .latency import Cost, measure, threads, timed_rows
from .predictions import Predictions, refuse_other_rows
from .reopen import predictions_of
from .scores import gap_of, main_metric, names_of, score_of

COMPARED_SPLITS = ("test", "oof")
TIMED_FROM = 10_000  # timed rows come from the first so many test rows


def compare(
    paths: Sequence[str], *, paired: bool = False, output: str | None = None,
    metric: str = "", latency: bool = True, by: str = "",
) -> Comparison:  # fmt: skip
    """Returns one record a finished run; writes them as CSV where `output` is given.

    Args:
        paths: folders; what is no finished run or ensemble is skipped and named.
        paired: also compare every run with the first one on the same test rows.
        output: CSV or Parquet file.
        metric: what Holm's correction and the first p-value look at; macro_f1, or ccc where there
            are no classes, if left empty.
        latency: measure the time per utterance now.
        by: a column of the manifest, such as source or speaker: scores of each of its values too.
    """
    finished, skipped = _finished(paths)
    if not finished:
        raise RunError(
            "none of these is a finished run: " + "; ".join(skipped or ["nothing named"])
        )
    metric = metric or main_metric(finished[0][1].kind)
    if paired and metric not in (names := names_of(finished[0][1].kind)):
        raise RunError(f"metric must be one of {', '.join(names)}, got '{metric}'")
    timed = {p: run for p, _ in finished if (run := _one_run(p))}
    costs = _costs(list(timed.values()), latency)
    rows = [
        _record(path, predictions, costs.get(timed.get(path, ""))) for path, predictions in finished
    ]
    if paired and len(finished) < 2:
        raise RunError("; ".join(["a paired comparison needs two finished runs", *skipped]))
    pairs = _paired([predictions for _, predictions in finished], metric) if paired else []
    parts = [by_value(path, predictions, by) for path, predictions in finished] if by else []
    done = Comparison(rows, skipped, threads(), pairs, metric, by, parts)
    if output:
        import pandas as pd

        by_run = {p["run"]: p for p in pairs}
        extra = [
            {f"paired_{k}": v for k, v in by_run.get(r["run"], {}).items() if k != "run"}
            for r in rows
        ]
        whole = pd.DataFrame([r | e for r, e in zip(rows, extra, strict=True)])
        write_table(output, whole.convert_dtypes())  # a missing count must not turn 3 into 3.0
    return done


def _finished(paths: Sequence[str]) -> tuple[list[tuple[str, Predictions]], list[str]]:
    """Returns (path, answers) of what is finished, and a sentence for everything else."""
    finished, skipped = [], []
    for path in dict.fromkeys(p.rstrip("/") for p in paths):
        if not is_ensemble(path) and not Path(path, "config.yaml").is_file():
            refuse_hub_name(path)
            skipped.append(f"{path}: no run")
            continue
        try:
            finished.append((path, predictions_of(path)))
        except (SemiError, OSError) as error:
            skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    count: dict[str, int] = {}
    for _, predictions in finished:
        count[predictions.name] = count.get(predictions.name, 0) + 1
    for path, predictions in finished:
        predictions.name = path if count[predictions.name] > 1 else predictions.name
    return finished, skipped


def _one_run(path: str) -> str | None:
    """Returns the run whose model is sized and timed: of held-out parts the first one."""
    if not is_ensemble(path):
        return path
    ensemble = read_ensemble(path)
    return ensemble["members"][0] if ensemble.get("rule") == "folds" else None


def _record(path: str, predictions: Predictions, cost: Cost | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "run": predictions.name,
        "path": path,
        "manifest": predictions.manifest,
    }
    record |= _ensemble_facts(path) if is_ensemble(path) else _run_facts(path)
    record |= {
        "task": predictions.kind,
        "classes": len(predictions.classes),
        "gold_rows": len(predictions.rows("oof")),
        "pool_rows": int((predictions.role == "pool").sum()),
        "test_key": _key(predictions),
        "unreadable_test_rows": len(predictions.rows("test")) - len(predictions.scored("test")),
    }
    for split in COMPARED_SPLITS:
        record |= _scores(predictions, split)
    record |= {
        "parameters": cost.parameters if cost else None,
        "head_parameters": cost.head_parameters if cost else None,
        "model_ms": cost.model_ms or None if cost else None,
        "end_to_end_ms": cost.end_to_end_ms if cost else None,
        "cpu_threads": threads(),
        "cost_note": cost.note if cost else "",
    }
    return record


def _key(predictions: Predictions) -> str:
    """Returns a word that is the same for runs with the same gold test rows, as far as read."""
    rows = predictions.scored("test")
    labels = sorted(
        zip(predictions.ids[rows].tolist(), predictions.label[rows].tolist(), strict=True)
    )
    return hashlib.sha256(repr(labels).encode()).hexdigest()[:12]


def _run_facts(path: str) -> dict[str, Any]:
    """Returns how a run was made: split, seed, rule, rounds."""
    run = Run.open(path)
    config, records = run.config, round_records(path)
    result = read_result(run.path) or {}
    tried = records[1:]
    rules = sorted({r["rule"] for r in tried if r.get("rule")})
    accepted = sum(bool(r["accepted"]) for r in tried)
    return {
        "split_kind": _split_kind(run),
        "folds": config.train.folds,
        "seed": config.seed,
        "rule": ", ".join(rules) or "-",
        "rounds": f"{accepted} of {len(tried)}" if tried else "0",
        "rounds_accepted": accepted,
        "leaks_allowed": ", ".join(config.data.allow_leaks),
        "model": config.model.kind,
        "sentence": result.get("sentence", ""),
        **_gains(result),
    }


def _gains(result: dict) -> dict[str, Any]:
    """Returns what the rounds brought, out-of-fold and on test, where the run tells it."""
    record: dict[str, Any] = {}
    for part, gain in (result.get("gain") or {}).items():
        gap = gain["difference"]
        record |= {f"gain_{part}": gap["value"], f"gain_{part}_low": gap["low"],
                   f"gain_{part}_high": gap["high"],
                   f"gain_{part}_over": interval_of(gap).over()}  # fmt: skip
    return record


def _split_kind(run: Run) -> str:
    """Returns what is never on two sides of the split, and where the test rows come from."""
    data = run.config.data
    kind = data.group
    if kind == "auto":
        notes = read_result(run.path) or {}
        kind = notes.get("group_kind") or _guess_group(run)
    source = (
        f"fold {data.test_fold}/{data.test_folds}" if getattr(data, "test_fold", None)
        else "named groups" if data.test_groups else "manifest or share"
    )  # fmt: skip
    return kind if source == "manifest or share" else f"{kind}, {source}"


def _guess_group(run: Run) -> str:
    """Returns speaker, session, dialogue or none: the column that the groups in splits.csv are."""
    from ..data.config import GROUP_KINDS
    from ..data.manifest import load_manifest

    splits = read_table(run.path / "splits.csv", ("id", "group"))
    try:
        manifest = load_manifest(run.config.data.manifest, run.config.data).table
    except (SemiError, OSError):
        return "?"
    group = splits["group"].tolist()
    manifest = manifest.set_index("id").reindex(splits["id"])  # either may have another order
    for kind in GROUP_KINDS:
        given = manifest[kind].tolist()
        known = [(g, v) for g, v in zip(group, given, strict=True) if isinstance(v, str)]
        if known and all(g == v for g, v in known):
            return kind
    return "none"


def _ensemble_facts(path: str) -> dict[str, Any]:
    ensemble = read_ensemble(path)
    return {
        "split_kind": ensemble.get("split_kind", "-"), "folds": None, "seed": ensemble.get("seed"),
        "rule": ensemble.get("rule", "ensemble"), "rounds": "-", "rounds_accepted": None,
        "leaks_allowed": ensemble.get("leaks_allowed", ""), "sentence": ensemble["how"],
        "model": ensemble.get("model", counted(len(ensemble["members"]), "member")),
    }  # fmt: skip


def _scores(predictions: Predictions, split: str) -> dict[str, Any]:
    """Returns the metrics of one split as flat columns; rows without an answer are left out."""
    score = score_of(predictions, split)
    record: dict[str, Any] = {f"{split}_rows": score.rows}
    if not score.rows:
        return record
    for name in names_of(predictions.kind):
        interval = score.intervals[name]
        record |= {f"{split}_{name}": score.metrics[name], f"{split}_{name}_low": interval.low,
                   f"{split}_{name}_high": interval.high}  # fmt: skip
    more = ("recall_std", "ece", "nll", "brier", "exact")
    more += tuple(f"{a}_{k}" for a in ("valence", "arousal") for k in ("pearson", "rmse"))
    record |= {f"{split}_{k}": score.metrics[k] for k in more if k in score.metrics}
    record[f"{split}_units"] = score.units
    return record


def _costs(runs: list[str], latency: bool) -> dict[str, Cost]:
    """Returns size and speed of each run."""
    if not runs:
        return {}
    tables = [_timed(run) if latency else None for run in runs]
    costs = measure(runs, tables, repeats=15 if latency else 0)
    if not latency:
        for cost in costs:
            cost.note = ""
    return dict(zip(runs, costs, strict=True))


def _timed(path: str) -> Any:
    """Returns a few test rows of a run's manifest, or None where it is not at hand."""
    manifest = manifest_of(path)
    if manifest is None:
        return None
    predictions = predictions_of(path)
    rows = predictions.rows("test") if len(predictions.rows("test")) else predictions.rows("oof")
    return timed_rows(manifest, rows[:TIMED_FROM])


def _paired(every: list[Predictions], metric: str) -> list[dict[str, Any]]:
    """Returns the differences of all others to the first, with p-values after Holm."""
    first, others = every[0], every[1:]
    for other in others:
        refuse_other_rows(first, other, ("test",))
    if not len(first.rows("test")):
        raise RunError(f"{first.name} has no gold test rows, so there is nothing to pair")
    pairs = []
    for other in others:
        gap = gap_of(other, first, "test")
        if not gap.rows:
            raise RunError(f"{other.name} and {first.name} answer no test row that both can read")
        record: dict[str, Any] = {"run": other.name, "against": first.name}
        record |= {"rows": gap.rows, "left_out": gap.left_out}
        for name, difference in gap.differences.items():
            record |= {
                name: difference.value,
                f"{name}_low": difference.low,
                f"{name}_high": difference.high,
            }
        main = gap.differences[metric]
        p = max(main.p_value or 0.0, least_p(main.units) if main.unit == "groups" else 0.0)
        record |= {"p_value": p, "unit": main.unit, "units": main.units, "over": main.over()}
        pairs.append(record | {"mcnemar_p": gap.mcnemar_p})
    for key in ("p_value", "mcnemar_p"):
        given = [p[key] for p in pairs]
        adjusted = [None] * len(pairs) if None in given else holm(given)
        for pair, p in zip(pairs, adjusted, strict=True):
            pair["p_holm" if key == "p_value" else "mcnemar_p_holm"] = p
    return pairs


def least_p(groups: int) -> float:
    """Returns the least two-sided p that exchanging two systems' signs by group can give."""
    return min(1.0, 2.0 ** (1 - groups))
