"""What the command line says at the end of its work: plain lines from plain numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data.audio import unusable_lines
from ..data.wording import VOTER, counted, shown
from .ledger_file import ledger_for_people
from .names import AFFECT_NAMES, METRIC_NAMES, MULTI_NAMES, SINGLE_NAMES
from .run_json import interval_of, read_result, shown_records
from .trackers.kept import Kept

SCORE_TITLES = {k: v for k, v in SINGLE_NAMES.items() if k != "accuracy"}
SPLIT_TITLES = {"metrics_test": "held-out test rows", "metrics_dev": "dev rows",
          "metrics_oof": "out-of-fold training rows"}  # fmt: skip

CELL = 160  # letters of a name that a table of scores shows


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Returns aligned columns; the first `left` ones are flush left, the others flush right."""
    head = [shown(cell, CELL) for cell in head]
    rows = [[shown(cell, CELL) for cell in row] for row in rows]
    widths = [max(len(str(r[k])) for r in [head, *rows]) for k in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            str(c).ljust(w) if k < left else str(c).rjust(w)
            for k, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(head), "  ".join("-" * w for w in widths), *(line(r) for r in rows)])


def percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Returns 61.2 [55.0, 67.1] of shares, or - where there is no value."""
    if value is None:
        return "-"
    interval = (
        f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    )
    return f"{100 * value:.1f}{interval}"


def points(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Returns +4.2 [+1.0, +7.4] of a difference of shares, or -; NaN ends are not known."""
    if value is None:
        return "-"
    if low is None or high is None or low != low or high != high:
        return f"{100 * value:+.1f}"
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def p_words(p: float | None) -> str:
    """Returns a p as tables show it: 0.034, < 0.001, or - where nothing was tested."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def scored(metrics: dict | None, name: str) -> str:
    """Returns a metric with its interval from a round's metrics."""
    if not metrics:
        return "-"
    interval = (metrics.get("intervals") or {}).get(name) or {}
    return percent(metrics.get(name), interval.get("low"), interval.get("high"))


def over(metrics: dict | None) -> str:
    """Returns ', 95 % intervals over 2 speakers' of a set of metrics, or nothing."""
    found = next(iter(((metrics or {}).get("intervals") or {}).values()), None)
    return f", 95 % intervals over {interval_of(found).over()}" if found else ""


def verdict(record: dict) -> str:
    """Returns one or two words on what became of a round."""
    if not record.get("round"):
        return "warm start"
    if not record.get("accepted"):
        return "rolled back"
    return "last student" if record.get("alone") else "accepted"


def rounds_table(records: Sequence[dict]) -> str:
    """Returns the table of rounds: rows added, verdict, scores on gold rows with intervals."""
    key = next((k for k in SPLIT_TITLES if any(r.get(k) for r in records)), "metrics_oof")
    names = columns(next((r[key] for r in records if r.get(key)), {}))
    rows = [
        [
            str(r.get("round", "")),
            verdict(r),
            str(r.get("added") or "-"),
            *(scored(r.get(key), name) for name in names),
        ]
        for r in records
    ]
    measured: Any = next((r[key] for r in records if r.get(key)), {})
    rows_told = f"{measured['rows']} " if measured.get("rows") else ""
    title = f"Scores in % on {rows_told}gold {SPLIT_TITLES[key]}{over(measured)}:"
    return title + "\n\n" + table(["round", "verdict", "added", *names.values()], rows, left=2)


def columns(metrics: dict) -> dict[str, str]:
    """Returns the scores that a table shows, by their names: those that the task has."""
    if "sample_f1" in metrics:
        return MULTI_NAMES | (AFFECT_NAMES if "ccc" in metrics else {})
    names = SCORE_TITLES if "waf" in metrics or "ccc" not in metrics else {}
    return names | (AFFECT_NAMES if "ccc" in metrics else {})


def floor_sentence(records: Sequence[dict[str, Any]]) -> str:
    """Returns what plain models of the labels alone reach, which no run goes below; '' if unasked.

    Args:
        records: of the rounds; the first holds `floor`.
    """
    floor = (records[0].get("floor") if records else None) or []
    if not floor:
        return ""
    metric = (records[0].get("gate") or {}).get("metric", "macro_f1")
    scores = ", ".join(
        f"{row['model']} {percent(row['metric'])} ({row['strength']})" for row in floor
    )
    best = next(row["model"] for row in floor if row["starts"])
    return (
        f"Floor, of gold labels alone, {METRIC_NAMES.get(metric, metric)} out-of-fold: {scores}. "
        f"Round 0 is the {best}; it ships unless a round is clearly above it."
    )


def run_words(run: str | Path) -> str:
    """Returns what a finished run says: its rounds, what came of them, what to type next."""
    run = Path(run)
    result = read_result(run) or {}
    records = shown_records(run)
    lines = ["", rounds_table(records), ""]
    if floor := floor_sentence(records):
        lines += [floor, ""]
    if result.get("sentence"):
        lines += [result["sentence"], ""]
    lost = result.get("quarantined")
    if lost:
        inputs = counted(lost, "input", "is", "are")
        lines += [f"{inputs} not used; {run / 'quarantine.csv'} says which and why.", ""]
    marks = ("warning: ", "rows lack usable", "are left out")
    cautions = [n for n in result.get("notes") or [] if any(mark in n for mark in marks)]
    voters = [n for n in result.get("notes") or [] if n.startswith(VOTER)]
    lines += [f"{note[:1].upper()}{note[1:]}." for note in voters]
    lines += [f"Caution: {note.removeprefix('warning: ')}." for note in cautions]
    lines += [""] * bool(voters or cautions)
    ledger = ledger_for_people(run)
    lines += [
        "Next:",
        *_tracker_lines(run),
        f"  open {run / 'report.html'}, and {ledger}: every pseudo-label of the run",
        f"  semi predict {shlex.quote(str(run))} {_inputs(run)}",
    ]
    return "\n".join(lines)


def _tracker_lines(run: Path) -> list[str]:
    """Returns what to type to look at the run in the trackers that show it."""
    kept, lines = Kept(run), []
    if (run / "tb").is_dir():
        lines.append(f"  tensorboard --logdir {shlex.quote(str(run / 'tb'))}")
    if number := kept.run("mlflow"):
        lines.append(f"  mlflow ui, where the run is {number}")
    if number := kept.run("wandb"):
        lines.append(f"  wandb sync wandb/offline-run-*-{number}, unless it was online")
    return lines


def _inputs(run: Path) -> str:
    """Returns an example of what a run's model reads, as `semi predict` takes it."""
    config = run / "config.yaml"
    encoders = yaml.safe_load(config.read_text("utf-8")).get("encoders", {})
    models = {name: encoders.get(name, {}).get("model") for name in ("speech", "text")}
    words = {"speech": "some.wav", "text": '--text "what was said"'}
    from_table = encoders.get("extra") or "precomputed" in models.values()
    used = [words[name] for name, model in models.items() if model != "none"]
    return "--manifest new.csv -o labelled.csv" if from_table or not used else " ".join(used)


def extraction_words(extraction: Any) -> list[str]:
    """Returns a line per modality, the quarantine and the place of the store."""
    lines = [
        f"{name}: {count.done} encoded, {count.cached} in the store already"
        + (f", {count.quarantined} quarantined" if count.quarantined else "")
        + (f"; {count.exactness}" if count.exactness else "")
        for name, count in extraction.modalities.items()
    ]
    lines += [f"quarantined {line}" for line in unusable_lines(extraction.quarantine, 20)]
    lines += extraction.notes
    return [*lines, f"{extraction.store}: complete after {extraction.seconds:.1f} s"]
