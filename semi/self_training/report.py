"""`semi report RUN`, and what a notebook shows of a run: with the sounds of its manifest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.manifest import load_manifest
from ..errors import ManifestError
from ..evaluation.html_report import render_fragment, write_report
from .run_dir import Run

if TYPE_CHECKING:
    import pandas as pd


def report(path: str | Path, places: Sequence[str] = ()) -> Path:
    """Returns the report.html that it writes; says on stderr why there is nothing to hear or read.

    Args:
        path: the run's folder.
        places: where its data are now, such as data.manifest=moved/table.csv.
    """
    run = Run.open(path, places)
    table, note = manifest_table(run)
    if note:
        print(f"note: {note}", file=sys.stderr, flush=True)
    return write_report(run.path, table)


def run_fragment(path: str | Path) -> str:
    """Returns a run in HTML for a notebook: what ships, rounds, classes, a few players."""
    run = Run.open(path)
    return render_fragment(run.path, manifest_table(run)[0])


def manifest_table(run: Run) -> tuple[pd.DataFrame | None, str]:
    """Returns the table of a run's utterances, or None and why it is not at hand."""
    manifest = run.config.data.manifest
    lost = "the report has no sounds and no texts"
    if not Path(manifest).exists():
        place = "name its new place with data.manifest=..."
        return None, f"{manifest}, the table of this run, is not there: {lost}; {place}"
    try:
        found = load_manifest(manifest, run.config.data)
    except ManifestError as error:
        return None, f"{str(error).splitlines()[0]}: {lost}"
    known = run.manifest_sha256()
    if known and known != found.sha256:
        return None, f"{manifest} has changed since this run was trained: {lost}"
    return found.table, ""
