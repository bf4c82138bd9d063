"""The notebooks of examples/ run from top to bottom and show what is kept in them, in form."""

import importlib.util
import json
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pandas as pd
import pytest

from semi.data.corpora import bundled_emodb
from semi.self_training.frame import RunResult

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
EMOTIONS = "anger boredom disgust fear happiness neutral sadness angry happy sad surprise worried"

# What another machine or version of a library may decide otherwise; its sentence stays.
OPEN = (
    (r"^\d+ of \d+ rounds? accepted; .*", "which rounds were accepted, and what ships"),
    (r"^runs/\w+: \d+ of \d+ rounds? accepted; .*", "the same of a run"),
    (r"^compared on \d+ gold rows .*", "what was compared"),
    (r"^features\.standardize=.*", "how features are scaled"),
    (r"Round 0 is the .*", "which floor"),
    (r"\b(accepted|rolled back): out-of-fold .*", "what the gate said"),
    (r"\b(accepted|rolled back)\b", "verdict"),
    (rf"\b({EMOTIONS.replace(' ', '|')})\b", "emotion"),
    (r"\S*\d\S*", "#"),
    (r"[-\s]+", " "),
    (r"^ ?(#|emotion) .*", "a row of a table"),
    (r"^(stopped|model) .*", r"\1"),
)  # fmt: skip


def runner():
    """Returns examples/run.py as a module."""
    spec = importlib.util.spec_from_file_location("run_example", EXAMPLES / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook(name):
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


def kept(cell):
    """Returns the text that a notebook keeps of what a cell showed."""
    return "".join(
        "".join(out.get("text") or out["data"]["text/plain"]) + "\n" for out in cell["outputs"]
    )


def form(text):
    """Returns the lines of an output without what differs between machines, rows alike once."""
    lines = []
    for line in text.splitlines():
        for pattern, word in OPEN:
            line = re.sub(pattern, word, line)
        lines.append(line.strip())
    return [line for line, _ in groupby(lines) if line]


@pytest.fixture
def play(tmp_path, store, monkeypatch):
    """Returns a function that runs a notebook in an empty folder and gives the values it shows."""
    (tmp_path / "feature_store").symlink_to(store)
    monkeypatch.chdir(tmp_path)

    def played(name):
        run, values = runner(), []
        with pd.option_context(*run.TABLES):
            for count, (cell, printed, value) in enumerate(run.shown_by(notebook(name)), 1):
                now = kept({"outputs": run.outputs(count, printed, value)})
                assert form(now) == form(kept(cell)), f"{name}, cell {count}"
                values.append(value)
        return values

    return played


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_keeps_what_its_cells_showed_and_no_paths_of_a_machine(name):
    book = notebook(name)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    shown = "".join(kept(cell) for cell in code)
    assert len(shown) > 500 and "Error" not in shown and "Traceback" not in shown
    assert re.findall(r"(?:^|[\s='\"(])(?:/|[A-Z]:\\)\w+", shown) == []


def test_readme_and_documentation_name_every_notebook():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 5
    for name in NOTEBOOKS:
        stem = name.removesuffix(".ipynb")
        assert f"| [{name}]({name}) |" in readme and f"| [{name}](#{stem}) |" in page
        assert f"\n<!-- notebook {stem} -->\n" in page


def test_the_form_knows_other_words_and_no_other_numbers():
    head = "round  verdict   WAF\n-----  --------  ----\n0      accepted  72.0\n"
    assert form(head) == form(head.replace("72.0", "69.4")) == form(head + "1  rolled back  3.1\n")
    assert form(head) != form(head.replace("WAF", "UAR")) != form(head + "Caution: few rows\n")
    assert form("labels: anger 20") != form("unlabelled: anger 20")


def test_a_folder_of_sounds_is_trained_on_and_labelled(play, tmp_path):
    play("own_data.ipynb")
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    roles = pd.read_csv("runs/mine/splits.csv")["role"].value_counts()
    assert roles["labeled"] + roles["test"] == 135 and roles["pool"] > 300
    labelled = pd.read_csv("labelled.csv")
    assert len(labelled) == 534 and labelled["label"].notna().all()


def test_a_challenge_ends_with_an_answer_for_every_candidate(play):
    play("challenge.ipynb")
    candidates = pd.read_csv("MER2024/mer2024-dataset/candidate_20000.csv")["name"]
    answer = pd.read_csv("submission.csv")
    assert answer["name"].tolist() == candidates.tolist() and len(answer) == 60
    ledger = pd.read_csv("runs/mer2024_semi/ledger.csv")
    assert not set(ledger["id"]) & set(candidates)


def test_thirty_reviews_are_learned_from_and_both_runs_are_compared(play):
    values = play("review.ipynb")
    first, second = (value for value in values if isinstance(value, RunResult))
    gold = pd.read_csv(second.path / "gold.csv", dtype=str)
    reviewed = gold[gold["source"] == "review"]
    assert len(reviewed) == 30 and set(reviewed["use"]) == {"gold"}
    truth = pd.read_csv(bundled_emodb(), dtype=str).set_index("id")["label"]
    assert (truth[reviewed["id"]].to_numpy() == reviewed["label"].to_numpy()).all()
    sides = [pd.read_csv(run.path / "splits.csv") for run in (first, second)]
    test = [set(side[side["role"] == "test"]["id"]) for side in sides]
    assert test[0] == test[1]
    assert [int((side["role"] == "labeled").sum()) for side in sides] == [33, 63]
    assert "<audio controls" in first._repr_html_()
    assert any("<table" in v._repr_html_() for v in values if hasattr(v, "pairs"))


@pytest.mark.extras("peft")
@pytest.mark.filterwarnings("ignore")  # of peft and of what it imports
def test_lora_adapts_on_training_rows_and_both_runs_are_compared(play):
    play("lora.ipynb")
    learned = set(pd.read_csv("runs/lora-finetune/speech/adapted_on.csv", dtype=str)["id"])
    for name in ("frozen", "adapted"):
        splits = pd.read_csv(f"runs/{name}/splits.csv", dtype=str).set_index("id")
        assert set(splits.loc[sorted(learned), "role"]) == {"labeled"}


def test_the_estimator_stands_in_a_pipeline_and_a_search(play):
    values = [value for value in play("scikit_learn.ipynb") if value is not None]
    *_, said, facts = values
    assert float(said.split()[-2]) > 40 and facts["pseudo-labels"] > 100
    assert len(values[2]) == 4 and values[2]["macro-F1"].notna().all()


def test_a_notebook_runs_as_its_readme_says(tmp_path):
    """With a notebook of two cells, as the whole ones run above; outputs are kept on request."""
    empty = {"execution_count": None, "metadata": {}, "outputs": []}
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# Two cells"]},
        {"cell_type": "code", "id": "b", "source": ["x = 3\n", "x + 1"], **empty},
        {"cell_type": "code", "id": "c", "source": ["!semi --version"], **empty},
    ]
    path = tmp_path / "two.ipynb"
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    command = [sys.executable, str(EXAMPLES / "run.py"), str(path), "--record"]
    environment = {"PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4\nsemi ")
    written = json.loads(path.read_text())["cells"]
    assert kept(written[1]) == "4\n" and kept(written[2]).startswith("semi ")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("!ls", "only commands of semi can be run here, not ls"),
        ("!semi evaluate runs/none", "ended with status 2"),
    ],
)
def test_a_command_that_fails_ends_the_example(source, sentence):
    cells = [{"cell_type": "code", "source": [source]}]
    with pytest.raises(SystemExit, match=sentence):
        list(runner().shown_by({"cells": cells}))
