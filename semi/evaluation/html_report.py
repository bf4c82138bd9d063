"""report.html: one self-contained page of a run, made from the files in its folder alone."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checksums import derived, refuse_newer
from ..data.wording import counted
from ..errors import RunError, reading
from ..files import write_text
from ..formulas import unguarded
from . import figures
from .run_json import read_result, shown_records
from .text import (
    SCORE_TITLES,
    SPLIT_TITLES,
    columns,
    floor_sentence,
    over,
    percent,
    scored,
    verdict,
)

TEMPLATE = "report.html.j2"
QUARANTINE_SHOWN = 200  # quarantined files listed; the rest is counted
METRICS = {"accuracy": "accuracy", **SCORE_TITLES, "ece": "calibration error", "aurc": "AURC",
           "sample_f1": "F1 per row", "ccc": "CCC"}  # fmt: skip


def write_report(run: str | Path) -> Path:
    """Writes report.html into a run's folder and returns its path."""
    path = Path(run, "report.html")
    text = render(run)
    with derived(path):
        write_text(path, text)
    return path


def render(run: str | Path) -> str:
    """Returns the page; whatever a run has not written is left out."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("semi.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent}
    return environment.get_template(TEMPLATE).render(**facts(run))


def _settings(path: Path) -> str:
    """Returns the settings as they are written."""
    with reading(path, "a YAML text in UTF-8", "bring it back from a copy of the run"):
        return path.read_text(encoding="utf-8")


def facts(run: str | Path) -> dict[str, Any]:
    """Returns everything the page shows, as plain values and SVG texts."""
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise RunError(f"{run} is not a run (it has no config.yaml)")
    refuse_newer(run)
    result = read_result(run) or {}
    records = shown_records(run)
    best = _best(records, result)
    quarantine = _rows(run / "quarantine.csv")
    splits = Counter(row.get("role", "") for row in _rows(run / "splits.csv"))
    return {
        "name": run.name,
        "finished": bool(result),
        "result": result,
        "sentence": result.get("sentence") or "This run is not finished.",
        "cards": _cards(records, best),
        "rounds": [_round(r) for r in records],
        "round_key": SPLIT_TITLES[_key(records)],
        "floor": floor_sentence(records),
        "score_names": list(columns(best.get(_key(records)) or {}).values()),
        "round_over": over(best.get(_key(records))),
        "rounds_figure": _rounds_figure(records),
        "best": best,
        "parts": [_part(best, key, title) for key, title in SPLIT_TITLES.items() if best.get(key)],
        "figures": _figures(best),
        "added": [_added(r) for r in records if r.get("class_mix")],
        "quarantine": quarantine[:QUARANTINE_SHOWN],
        "quarantine_more": max(0, len(quarantine) - QUARANTINE_SHOWN),
        "splits": {k: v for k, v in splits.items() if k},
        "notes": _sentences(result.get("notes")),
        "leaks": _sentences(result["leaks"]) if "leaks" in result else None,
        "read": (run / "quarantine.csv").is_file() or "quarantined" in result,
        "config": _settings(run / "config.yaml"),
    }


def _best(records: Sequence[dict], result: dict) -> dict:
    """Returns the round that ships."""
    number = result.get("best_round")
    kept = [r for r in records if r.get("accepted", True)]
    return next((r for r in records if r.get("round") == number), kept[-1] if kept else {})


def _key(records: Sequence[dict]) -> str:
    return next((k for k in SPLIT_TITLES if any(r.get(k) for r in records)), "metrics_oof")


def _cards(records: Sequence[dict], best: dict) -> list[dict]:
    """Returns the headline's numbers: what ships, and the warm start it is compared with."""
    key = _key(records)
    now, start = best.get(key) or {}, (records[0].get(key) if records else None) or {}
    return [
        {"name": title, "now": scored(now, name), "start": percent(start.get(name)),
         "change": _change(now.get(name), start.get(name))}
        for name, title in columns(now).items()
        if now.get(name) is not None
    ]  # fmt: skip


def _change(now: float | None, before: float | None) -> str:
    return "" if now is None or before is None else f"{100 * (now - before):+.1f}"


def _round(record: dict) -> dict:
    key = next((k for k in SPLIT_TITLES if record.get(k)), "metrics_oof")
    pseudo = record.get("pseudo") or {}
    return {
        "number": record.get("round"),
        "verdict": verdict(record),
        "why": record.get("verdict") or "",
        "rule": record.get("rule") or "-",
        "asked": percent(record.get("coverage_asked") or None),
        "added": record.get("added") or "-",
        "precision": percent(pseudo.get("precision")),
        "scores": [scored(record.get(key), name) for name in columns(record.get(key) or {})],
        "gate": percent((record.get("gate") or {}).get("value")),
    }


def _rounds_figure(records: Sequence[dict]) -> str:
    key = _key(records)
    done = [r for r in records if r.get(key)]
    if len(done) < 2:
        return ""

    def ends(name: str, end: str) -> list:
        return [((r[key].get("intervals") or {}).get(name) or {}).get(end) for r in done]

    shown = {
        title: ([r[key].get(name) for r in done], ends(name, "low"), ends(name, "high"))
        for name, title in list(SCORE_TITLES.items())[1:]
    }
    return figures.svg(figures.rounds([r.get("round", 0) for r in done], shown))


def _part(record: dict, key: str, title: str) -> dict:
    """Returns the scores of one set of gold rows: overall, per class, confusion as shades."""
    m = record[key]
    classes, matrix = m.get("classes") or [], m.get("confusion") or []
    rows = [
        {"name": c, **{k: percent(_at(m, k, i)) for k in ("precision", "recall", "f1")},
         "support": _at(m, "support", i)}
        for i, c in enumerate(classes)
    ]  # fmt: skip
    shades = [[n / max(sum(row), 1) for n in row] for row in matrix]
    cells = [
        [{"n": n, "share": s} for n, s in zip(row, shade, strict=True)]
        for row, shade in zip(matrix, shades, strict=True)
    ]
    return {
        "title": title,
        "rows": m.get("rows"),
        "over": over(m),
        "scores": [(name, scored(m, k)) for k, name in METRICS.items() if m.get(k) is not None]
        + _affect(m),
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
            scores.append((f"{name}: RMSE", f"{m['rmse']:.3f}"))
    return scores


def _at(metrics: dict, key: str, index: int) -> Any:
    values = metrics.get(key) or []
    return values[index] if index < len(values) else None


def _figures(record: dict) -> list[dict]:
    """Returns the curves of the round that ships."""
    curves = []
    bins = record.get("reliability") or []
    if bins:
        x, y, n = ([b.get(k) for b in bins] for k in ("confidence", "accuracy", "rows"))
        ece = (record.get("metrics_oof") or {}).get("ece")
        curves.append(("Calibration on out-of-fold gold", figures.reliability(x, y, n, ece)))
    for key, title, what in (
        ("risk_coverage", "Risk and coverage on out-of-fold gold", "error rate"),
        ("curve", "Pseudo-labels against hidden gold", "share that is right"),
    ):
        source = record if key == "risk_coverage" else record.get("pseudo") or {}
        points = source.get(key) or []
        if points:
            y = "risk" if key == "risk_coverage" else "precision"
            lines = [p.get("coverage") for p in points], [p.get(y) for p in points]
            curves.append((title, figures.curve(*lines, label=what)))
    return [{"title": title, "svg": figures.svg(figure)} for title, figure in curves]


def _added(record: dict) -> dict:
    """Returns what one round added: shares per class, and how right it was where that is known."""
    mix = record["class_mix"] or {}
    total, pseudo = max(sum(mix.values()), 1), record.get("pseudo") or {}
    by_class = pseudo.get("by_class") or pseudo.get("per_class") or {}
    largest = max([*mix.values(), 1])
    return {
        "number": record.get("round"),
        "verdict": verdict(record),
        "added": record.get("added"),
        "precision": percent(pseudo.get("precision")) if pseudo else "",
        "coverage": percent(pseudo.get("coverage")) if pseudo else "",
        "sure": _sure(record.get("confidence")),
        "classes": [
            {"name": c, "count": n, "share": n / total, "width": 100 * n / largest,
             "precision": percent((by_class.get(c) or {}).get("precision")) if by_class else ""}
            for c, n in mix.items()
        ],
        "notes": record.get("notes") or [],
    }  # fmt: skip


def _sure(confidence: dict | None) -> str:
    """Returns how sure a round's chosen rows are, and by how much gold has corrected that."""
    if not confidence:
        return ""
    seen, mended = (percent(confidence[k]) for k in ("as_seen", "calibrated"))
    way = "above" if confidence["gap"] > 0 else "below"
    return (
        f"mean confidence {mended} % in the ledger ({seen} % as the rule saw it; on gold "
        f"out-of-fold the models' confidence is {100 * abs(confidence['gap']):.1f} points {way} "
        "their accuracy)"
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    damaged = reading(path, "a CSV text in UTF-8", "bring it back from a copy of the run")
    with damaged, open(path, encoding="utf-8", newline="") as source:
        rows = csv.DictReader(source)
        return [{name: unguarded(cell) for name, cell in row.items()} for row in rows]


def _sentences(value: Any) -> list[str]:
    """Returns what a JSON file says in words, whichever way it was put."""
    if not value:
        return []
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, dict):
        value = [
            f"{kind}: {v['count']} of {counted(v['of'], 'row')}"
            if isinstance(v, dict) and "of" in v
            else f"{kind}: {v}"
            for kind, v in value.items()
        ]  # fmt: skip
    return [str(v) for v in value]
