"""What the report says in numbers: the headline, the table of rounds, each part of the gold rows.

Plain values and texts for the template, from the records of the rounds and result.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data.wording import counted
from .names import METRIC_NAMES
from .run_json import interval_of
from .text import SCORE_TITLES, SPLIT_TITLES, columns, over, percent, points, scored, verdict

REPORT_SCORES = {"accuracy": "accuracy", **SCORE_TITLES, "ece": "calibration error", "aurc": "AURC",
           "sample_f1": "F1 per row", "ccc": "CCC"}  # fmt: skip
CAUTIONS = ("warning: ", "rows lack usable", "are left out")


def key_of(records: Sequence[dict]) -> str:
    """Returns the part of the gold rows that the headline is about: test, else dev, else oof."""
    return next((k for k in SPLIT_TITLES if any(r.get(k) for r in records)), "metrics_oof")


def best_of(records: Sequence[dict], result: dict) -> dict:
    """Returns the record of the round that ships."""
    number = result.get("best_round")
    kept = [r for r in records if r.get("accepted", True)]
    return next((r for r in records if r.get("round") == number), kept[-1] if kept else {})


def groups(metrics: dict | None) -> str:
    """Returns '4 speakers' that the intervals are over, '' where there are none."""
    found = next(iter(((metrics or {}).get("intervals") or {}).values()), None)
    return interval_of(found).over() if found else ""


def headline(records: Sequence[dict], result: dict) -> dict[str, Any]:
    """Returns what stands on the first screen: what ships, how sure, over how many groups."""
    best, key = best_of(records, result), key_of(records)
    now, start = best.get(key) or {}, (records[0].get(key) if records else None) or {}
    names, metric = columns(now), _metric(records, now)
    value = now.get(metric)
    return {
        "ships": f"{_name(best).capitalize()} ships",
        "metric": METRIC_NAMES.get(metric, metric),
        "value": percent(value) if value is not None else "",
        "interval": _ends(now, metric),
        "over": groups(now),
        "rows": now.get("rows") or "",
        "where": SPLIT_TITLES[key],
        "gain": _gain(result, key),
        "ladder": _ladder(records, best, metric),
        "others": [
            {"name": title, "now": scored(now, name), "over": groups(now),
             "start": percent(start.get(name)), "change": _change(now.get(name), start.get(name))}
            for name, title in names.items()
            if now.get(name) is not None
        ],
        "learned": _learned(best, result),
    }  # fmt: skip


def _name(best: dict) -> str:
    """Returns what a round that ships is called."""
    if best.get("alone"):
        return "the last student"
    return f"round {best['round']}" if best.get("round") else "the warm start"


def _metric(records: Sequence[dict], metrics: dict) -> str:
    """Returns the score of the headline: what the gate looks at, where these rows have it."""
    asked = ((records[0].get("gate") or {}) if records else {}).get("metric") or "macro_f1"
    if metrics.get(asked) is not None:
        return asked
    return next((name for name in columns(metrics) if metrics.get(name) is not None), asked)


def _ends(metrics: dict, name: str) -> str:
    found = (metrics.get("intervals") or {}).get(name) or {}
    low, high = found.get("low"), found.get("high")
    return f"{percent(low)} to {percent(high)}" if None not in (low, high) else ""


def _gain(result: dict, key: str) -> dict[str, Any] | None:
    """Returns how much better what ships is than the warm start, on the headline's rows."""
    gains = result.get("gain") or {}
    found = gains.get("test" if key == "metrics_test" else "oof")
    if not found or not result.get("best_round"):
        return None
    gap = found["difference"]
    value, low, high = (gap.get(k) for k in ("value", "low", "high"))
    if None in (value, low, high):
        return None
    shown = low > 0 or high < 0
    return {
        "words": points(value, low, high),
        "over": interval_of(gap).over(),
        "verdict": ("a gain" if value > 0 else "a loss") if shown else "no gain is shown",
        "mark": ("right" if value > 0 else "wrong") if shown else "",
    }


def _ladder(records: Sequence[dict], best: dict, metric: str) -> list[dict[str, Any]]:
    """Returns floor, warm start and what ships side by side, one part of the gold rows a time."""
    parts = []
    for key, title in SPLIT_TITLES.items():
        now, first = best.get(key) or {}, (records[0].get(key) if records else None) or {}
        if now.get(metric) is None:
            continue
        floor = ((records[0].get("floor") or []) if key == "metrics_oof" else []) if records else []
        rows = [_rung(f"floor: {row['model']}", row.get("metric"), None, None) for row in floor]
        rows.append(_rung("warm start", first.get(metric), *_interval(first, metric)))
        if best.get("round"):
            name = f"{_name(best)}, ships"
            rows.append(_rung(name, now.get(metric), *_interval(now, metric), ships=True))
        else:
            rows[-1] |= {"name": "warm start, ships", "ships": True}
        over_groups = f", 95 % over {groups(now)}" if groups(now) else ""
        count = f"{counted(now['rows'], 'row')}" if now.get("rows") else ""
        parts.append(
            {"title": title, "about": f"{count}{over_groups}".removeprefix(", "), "rows": rows}
        )
    return parts


def _interval(metrics: dict, name: str) -> tuple[float | None, float | None]:
    found = (metrics.get("intervals") or {}).get(name) or {}
    return found.get("low"), found.get("high")


def _rung(
    name: str, value: float | None, low: float | None, high: float | None, *, ships: bool = False
) -> dict[str, Any]:
    """Returns one line of the ladder; places are in % of its width, from 0 to 100."""

    def place(share: float) -> float:
        return round(100 * min(max(share, 0.0), 1.0), 2)

    rung: dict[str, Any] = {"name": name, "text": percent(value, low, high), "ships": ships}
    if value is not None:
        rung["dot"] = place(value)
    if low is not None and high is not None:
        rung |= {"left": place(low), "width": round(place(high) - place(low), 2)}
    return rung


def _learned(best: dict, result: dict) -> str:
    """Returns how many labels people gave and the machine added, and how right those are."""
    gold, pool = result.get("gold_rows"), result.get("pool_rows")
    words = [f"{counted(gold, 'label')} by people"] if gold else []
    added = best.get("added")
    if pool and added:
        right = (best.get("pseudo") or {}).get("precision")
        known = f", {percent(right)} % of them right where gold was hidden" if right else ""
        words.append(f"{added} of {counted(pool, 'unlabelled row')} labelled by the machine{known}")
    elif pool:
        words.append(f"{counted(pool, 'unlabelled row')}, none of which it learned from")
    return "; ".join(words)


def _change(now: float | None, before: float | None) -> str:
    return "" if now is None or before is None else f"{100 * (now - before):+.1f}"


def cautions(notes: Sequence[str]) -> list[str]:
    """Returns the notes that a reader of the headline must know."""
    found = [note for note in notes if any(mark in note for mark in CAUTIONS)]
    return [note.removeprefix("warning: ") for note in found]


def round_row(record: dict, best: dict) -> dict[str, Any]:
    """Returns a round as one row of the table, with what folds away in it."""
    key = next((k for k in SPLIT_TITLES if record.get(k)), "metrics_oof")
    pseudo, mix = record.get("pseudo") or {}, record.get("class_mix") or {}
    by_class = pseudo.get("by_class") or pseudo.get("per_class") or {}
    return {
        "number": record.get("round"),
        "verdict": verdict(record),
        "ships": record is best,
        "why": record.get("verdict") or "",
        "rule": (record.get("rule") or "-").replace("_", " "),
        "asked": percent(record.get("coverage_asked") or None),
        "added": record.get("added") or "-",
        "precision": percent(pseudo.get("precision")),
        "coverage": percent(pseudo.get("coverage")) if pseudo else "",
        "scores": [scored(record.get(key), name) for name in columns(record.get(key) or {})],
        "gate": percent((record.get("gate") or {}).get("value")),
        "sure": _sure(record.get("confidence")),
        "notes": record.get("notes") or [],
        "mix": [
            {"name": c, "count": round(n),
             "right": percent((by_class.get(c) or {}).get("precision")) if c in by_class else ""}
            for c, n in mix.items()
        ],
    }  # fmt: skip


def _sure(confidence: dict | None) -> str:
    """Returns how sure a round's chosen rows are, and by how much gold has corrected that."""
    if not confidence or None in (confidence["as_seen"], confidence["calibrated"]):
        return ""
    seen, mended = (percent(confidence[k]) for k in ("as_seen", "calibrated"))
    way = "above" if confidence["gap"] > 0 else "below"
    return (
        f"mean confidence {mended} % in the ledger ({seen} % as the rule saw it; on gold "
        f"out-of-fold the models' confidence is {100 * abs(confidence['gap']):.1f} points {way} "
        "their accuracy)"
    )


def part(record: dict, key: str) -> dict[str, Any]:
    """Returns the scores of one set of gold rows: overall, per class, confusion as shades."""
    m = record[key]
    classes, matrix = m.get("classes") or [], m.get("confusion") or []
    rows = [
        {"name": c, **{k: percent(_at(m, k, i)) for k in ("precision", "recall", "f1")},
         "support": _at(m, "support", i)}
        for i, c in enumerate(classes)
    ]  # fmt: skip
    cells = [[{"n": n, "share": n / max(sum(row), 1)} for n in row] for row in matrix]
    found = [(n, scored(m, k)) for k, n in REPORT_SCORES.items() if m.get(k) is not None]
    return {
        "role": key.removeprefix("metrics_"),
        "title": SPLIT_TITLES[key],
        "rows": m.get("rows"),
        "over": over(m),
        "scores": found + _affect(m),
        "notes": sorted({i["note"] for i in (m.get("intervals") or {}).values() if i.get("note")}),
        "classes": classes,
        "per_class": rows if m.get("f1") else [],
        "confusion": list(zip(classes, cells, strict=False)),
    }


def _affect(metrics: dict) -> list[tuple[str, str]]:
    """Returns CCC with its interval, Pearson's r and RMSE of valence and arousal."""
    scores = []
    for name, m in (metrics.get("affect") or {}).items():
        if m.get("rows", 0) >= 2:
            scores.append((f"{name}: CCC", scored(m, "ccc")))
            scores.append((f"{name}: Pearson's r", percent(m["pearson"])))
            rmse = "-" if m["rmse"] is None else f"{m['rmse']:.3f}"
            scores.append((f"{name}: RMSE", rmse))
    return scores


def _at(metrics: dict, key: str, index: int) -> Any:
    values = metrics.get(key) or []
    return values[index] if index < len(values) else None
