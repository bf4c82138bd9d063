"""report.html: one self-contained page of a run, made from the files in its folder.

The sounds and texts that it lets you hear and read are the manifest's; without it they are left
out, and the page says so.
"""

from __future__ import annotations

import base64
import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checksums import derived, refuse_newer
from ..data.wording import counted
from ..errors import RunError, reading
from ..files import write_text
from ..formulas import unguarded
from . import report_figures, report_scores
from .report_groups import group_tables
from .report_picks import picks
from .report_rows import MISTAKES_LISTED, mistakes, read_answers, suspects
from .report_sounds import MOST_CLIPS, Utterances
from .reviewed_precision import precision_sentence
from .run_json import read_result, shown_records
from .text import SPLIT_TITLES, columns, floor_sentence, over

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

TEMPLATE, FRAGMENT = "report.html.j2", "notebook.html.j2"
STYLE, SCRIPT = "report.css", "report.js"
QUARANTINE_SHOWN = 200  # quarantined files listed; the rest is counted
FRAGMENT_CLIPS = 6  # that a notebook holds


def write_report(run: str | Path, table: pd.DataFrame | None = None) -> Path:
    """Writes report.html into a run's folder and returns its path.

    Args:
        run: the run's folder.
        table: of its manifest: the sounds, texts and speakers of its rows; None = not there.
    """
    path = Path(run, "report.html")
    text = render(run, table)
    with derived(path):
        write_text(path, text)
    return path


def render(run: str | Path, table: pd.DataFrame | None = None) -> str:
    """Returns the page; whatever a run has not written is left out."""
    script = own_file(SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = facts(run, Utterances(table, MOST_CLIPS), MISTAKES_LISTED)
    return template(TEMPLATE).render(**page, style=own_file(STYLE), script=script, digest=digest)


def render_fragment(run: str | Path, table: pd.DataFrame | None = None) -> str:
    """Returns the first screen of the page, rounds, classes and a few players, for a notebook."""
    shown = facts(run, Utterances(table, FRAGMENT_CLIPS), FRAGMENT_CLIPS)
    return template(FRAGMENT).render(**shown, style=own_file(STYLE))


def own_file(name: str) -> str:
    """Returns a style or a script that stands beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def template(name: str) -> Template:
    """Returns one of the templates beside this module; what it is given is escaped."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("semi.evaluation", ".")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def facts(run: str | Path, utterances: Utterances, listed: int) -> dict[str, Any]:
    """Returns everything the page shows, as plain values and SVG texts.

    Args:
        run: the run's folder.
        utterances: what there is to hear and to read.
        listed: mistakes that are listed, at the most.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise RunError(f"{run} is not a run (it has no config.yaml)")
    refuse_newer(run)
    result, records = read_result(run) or {}, shown_records(run)
    best, key = report_scores.best_of(records, result), report_scores.key_of(records)
    notes = _sentences(result.get("notes"))
    leaks = _sentences(result["leaks"]) if "leaks" in result else None
    answers = read_answers(run)
    return {
        "name": run.name,
        "finished": bool(result),
        "sentence": result.get("sentence") or "This run is not finished.",
        "head": report_scores.headline(records, result),
        "cautions": report_scores.cautions(notes),
        "rounds": [report_scores.round_row(r, best) for r in records],
        "round_key": SPLIT_TITLES[key],
        "floor": floor_sentence(records),
        "score_names": list(columns(best.get(key) or {}).values()),
        "round_over": over(best.get(key)),
        "round_groups": report_scores.groups(best.get(key)),
        "rounds_figure": report_figures.rounds_figure(records),
        "class_curves": report_figures.class_curves(records),
        "spark": report_figures.SPARK,
        "best": best,
        "parts": [report_scores.part(best, k) for k in SPLIT_TITLES if best.get(k)],
        "reviewed": _reviewed(run),
        "groups": group_tables(run),
        "figures": report_figures.shipped_curves(best, answers),
        "leaks": leaks,
        "notes": [n for n in notes if not any(leak in n for leak in leaks or [])],
        "config": _settings(run / "config.yaml"),
        **_utterances(run, best, answers, utterances, listed),
        **_data(run, result),
    }


def _reviewed(run: Path) -> str:
    """Returns how right the pseudo-labels are by people's reviews, '' where nobody reviewed."""
    try:
        return precision_sentence(run)
    except RunError as error:  # somebody's own file: what the run came to is told in any case
        return f"they cannot be told ({error})"


def _utterances(
    run: Path, best: dict, answers: Sequence[dict], utterances: Utterances, listed: int
) -> dict[str, Any]:
    """Returns the tables of single utterances; each takes its clips in turn."""
    roles = {row["role"] for row in answers}
    role = next((r for r in ("test", "dev") if r in roles), "oof" if roles else "")
    asked = [row | {"role": "oof"} for row in answers] if role == "oof" else answers
    classes = (best.get(f"metrics_{role}") or {}).get("classes") or []
    wrong = mistakes(asked, role, classes, utterances, listed)
    doubted = suspects(run, answers if role != "oof" else [], utterances)
    learned = picks(run, best.get("round") or 0, utterances)
    return {
        "role": role,
        "answered": bool(answers),
        "mistakes": wrong,
        "places": Counter(row.place for row in wrong.rows if row.place),
        "suspects": doubted,
        "picks": learned,
        "silent": utterances.silent,
        "heard": utterances.there,
    }


def _data(run: Path, result: dict) -> dict[str, Any]:
    """Returns the sides of the data and what could not be used."""
    quarantine = _rows(run / "quarantine.csv")
    splits = _sides(run / "splits.csv")
    return {
        "quarantine": quarantine[:QUARANTINE_SHOWN],
        "quarantine_more": max(0, len(quarantine) - QUARANTINE_SHOWN),
        "splits": splits,
        "read": (run / "quarantine.csv").is_file() or "quarantined" in result,
    }


def _sides(path: Path) -> Counter[str]:
    """Returns how many rows each side has, of a file that is read line by line."""
    if not path.is_file():
        return Counter()
    damaged = reading(path, "a CSV text in UTF-8", "bring it back from a copy of the run")
    with damaged, open(path, encoding="utf-8", newline="") as source:
        rows = csv.reader(source)
        head = next(rows, [])
        at = head.index("role") if "role" in head else len(head)
        return Counter(row[at] for row in rows if len(row) > at and row[at])


def _settings(path: Path) -> str:
    """Returns the settings as they are written."""
    with reading(path, "a YAML text in UTF-8", "bring it back from a copy of the run"):
        return path.read_text(encoding="utf-8")


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
            if isinstance(v, dict) and isinstance(v.get("of"), int) and "count" in v
            else f"{kind}: {v}"
            for kind, v in value.items()
        ]  # fmt: skip
    return [str(v) for v in value]
