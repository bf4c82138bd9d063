"""What a notebook shows of results: tables and players in HTML, bars without escape codes."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import semi
from semi.evaluation.as_tables import ShownAsTables
from semi.evaluation.notebook import words_html
from semi.experiments.cross_validation import Folds
from semi.experiments.search.search import SearchReport
from semi.review.next_rows import NextRows
from semi.review.suspects import Suspects
from semi.runs.compare import compare
from semi.runs.comparison import Comparison
from semi.runs.ensemble import Mixed
from semi.runs.evaluate_by import ByGroup
from semi.runs.preview import DryRun
from semi.self_training.frame import RunResult

ROOT = Path(__file__).parents[1]


def well_formed(html):
    """Parses HTML that is XML but for attributes without a value, and returns it."""
    text = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    text = re.sub(r"(<details|<audio)([^>]*) (open|controls)", r'\1\2 \3=""', text)
    return ElementTree.fromstring(f"<div>{text}</div>")


def test_a_run_shows_what_ships_and_its_tables(runs):
    result = RunResult(Path(runs[0]), "max_rounds", 1, 1, {}, "")
    part = result._repr_html_()
    well_formed(part)
    assert "<script" not in part and "Surest mistakes" in part
    assert re.search(r"95 % interval <b>.*</b> over <b>\d+ speakers</b>", part)
    assert semi.load(runs[0])._repr_html_() == part


def test_a_model_folder_alone_says_what_it_is(runs, tmp_path):
    shutil.copytree(Path(runs[0]) / "model", tmp_path / "model")
    part = semi.load(tmp_path / "model")._repr_html_()
    well_formed(part)
    assert "Classes: anger, calm, joy" in part and "ships" in part


def test_a_prompt_shows_the_same_in_words_and_no_raw_numbers(runs):
    result = RunResult(Path(runs[0]), "max_rounds", 1, 1, {"rows": 3}, "Round 1 ships.")
    assert repr(result) == f"{runs[0]}: Round 1 ships."
    assert re.search(r"ships.*\nClasses: anger, calm, joy$", repr(semi.load(runs[0])), flags=re.S)
    for found in (semi.evaluate(runs[0], "oof"), compare(runs, latency=False)):
        assert repr(found) == str(found) and "macro-F1" in str(found)
    for kind in (ByGroup, Comparison, DryRun, Folds, Mixed, NextRows, SearchReport, Suspects):
        assert kind.__repr__ is ShownAsTables.__repr__, kind


def test_scores_are_tables_with_what_the_intervals_are_over(runs):
    part = semi.evaluate(runs[0], "oof")._repr_html_()
    tables = list(well_formed(part).iter("table"))
    assert len(tables) == 2 and "95 % intervals over" in part


def test_a_comparison_is_the_tables_that_are_printed(runs):
    found = compare(runs, paired=True, latency=False)
    page = well_formed(found._repr_html_())
    tables = list(page.iter("table"))
    assert len(tables) == len(re.findall(r"(?m)^-+(  -+)+$", str(found)))
    cells = {"".join(cell.itertext()) for cell in page.iter("td")}
    assert {"a", "b"} <= cells


def test_printed_tables_keep_cells_with_blanks_and_escape_what_they_hold():
    words = "Said of <b>:\n\nname   what it is\n-----  ----------\na <b>  two words\nc\n\nEnd."
    page = well_formed(words_html(words))
    (table,) = page.iter("table")
    assert [[c.text for c in row] for row in table.iter("tr")] == [
        ["name", "what it is"], ["a <b>", "two words"], ["c", None]
    ]  # fmt: skip
    assert [p.text for p in page.iter("p")] == ["Said of <b>:", "End."]


FAKE = """
import builtins, sys, types
class ZMQInteractiveShell: pass
builtins.get_ipython = ZMQInteractiveShell
shown = []
class Output:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def clear_output(self, *_, **__): pass
    outputs = ()
def module(name, **what):
    found = types.ModuleType(name)
    found.__dict__.update(what)
    found.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = found
import importlib.machinery
module("IPython")
module("IPython.display", display=shown.append)
if {widgets}: module("ipywidgets", Output=Output)
from semi.features.progress import Progress
with Progress("audio", 100, "s", show=True) as bar:
    bar.at(40)
    bar.at(100)
print(len(shown))
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_a_bar_in_a_notebook_is_a_widget_or_plain_lines_never_escape_codes(widgets):
    done = subprocess.run(
        [sys.executable, "-c", FAKE.replace("{widgets}", str(widgets))],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    if widgets:
        assert int(done.stdout) > 0 and "audio" not in done.stderr
    else:
        assert done.stdout == "0\n"
        assert "audio: 100 s to do" in done.stderr and "100 s done in" in done.stderr
