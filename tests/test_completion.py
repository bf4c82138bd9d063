"""Tab in a shell: verbs, settings, recipes, corpora and files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from semi.cli import VERBS
from semi.completion import (
    PLACES,
    default_settings,
    settings_of_benchmark,
    settings_of_transfer,
)
from semi.config.paths import PLACE_SETTINGS
from semi.config.schema import Config
from semi.config.yaml_format import all_keys
from semi.data.corpora import CORPORA
from semi.experiments.benchmark.config import BenchConfig
from semi.experiments.transfer.config import SHORT_WORDS, TransferConfig
from semi.shipped import recipe_names

ROOT = Path(__file__).parents[1]
pytest.importorskip("argcomplete")


def offered(folder, line):
    """Returns the words that Tab offers at the end of a line, called in a folder."""
    answer = folder / "answer"
    environment = {
        "PYTHONPATH": str(ROOT),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    done = subprocess.run([sys.executable, "-m", "semi"], cwd=folder, capture_output=True,
                          text=True, env=os.environ | environment)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found = answer.read_text().split("\n")
    answer.unlink()
    return [word.rstrip() for word in found if word]


def test_verbs(tmp_path):
    words = [word for word in offered(tmp_path, "semi ") if not word.startswith("-")]
    assert set(words) == set(VERBS)
    assert offered(tmp_path, "semi tra") == ["train", "transfer"]
    assert "--resume" in offered(tmp_path, "semi train --re")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("semi train mer", ["mer2024_semi"]),
        ("semi check demo select.ru", ["select.rule="]),
        ("semi train demo track", ["tracking=", "track="]),
        ("semi folds tracking=", ["tracking=true", "tracking=false"]),
        ("semi demo rounds.max", ["rounds.max_rounds="]),
        ("semi distill runs/demo multi_still_s", ["multi_still_speech"]),
        ("semi search hub", ["hubert"]),
        ("semi select runs/demo ru", ["rule="]),
        ("semi evaluate runs/demo data.m", ["data.manifest="]),
        ("semi benchmark bud", ["budgets="]),
        ("semi benchmark be", ["bench"]),
        ("semi manifest ie", ["iemocap"]),
        ("semi train sede=", []),
    ],
)
def test_settings_and_recipes(tmp_path, line, words):
    assert offered(tmp_path, line) == words


def test_files_follow_where_files_may_stand(tmp_path):
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "mine.csv").touch()
    assert offered(tmp_path, "semi train mi") == ["mine.yaml"]
    assert offered(tmp_path, "semi train data.manifest=mine.c") == ["data.manifest=mine.csv"]
    assert offered(tmp_path, "semi evaluate mine.y") == ["mine.yaml"]


def test_nobody_waits_for_torch_who_has_pressed_tab(tmp_path):
    program = (
        "import sys\nfrom semi import completion\n"
        "assert 'seed=' in completion.settings_and_recipes('se')\n"
        "assert completion.settings_of_places('data.') and completion.settings_of_selection('ru')\n"
        "assert 'budgets=' in completion.settings_of_benchmark('bu')\n"
        "assert 'train=' in completion.settings_of_transfer('tr')\n"
        "print(sorted({'torch', 'numpy', 'omegaconf', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_what_is_offered_is_what_there_is():
    sections = {
        key for key in all_keys(Config) if any(k.startswith(f"{key}.") for k in all_keys(Config))
    }
    assert set(default_settings()) == set(all_keys(Config)) - sections
    assert PLACES == PLACE_SETTINGS and "iemocap" in CORPORA and "hubert" in recipe_names()


@pytest.mark.parametrize(
    ("offer", "schema", "more"),
    [
        (settings_of_benchmark, BenchConfig, ()),
        (settings_of_transfer, TransferConfig, tuple(SHORT_WORDS)),
    ],
)
def test_settings_that_are_read_from_sources_are_those_of_the_schema(
    tmp_path, monkeypatch, offer, schema, more
):
    """A setting that moves to another file must still be offered."""
    monkeypatch.chdir(tmp_path)
    keys = all_keys(schema)
    leaves = [k for k in keys if not any(other.startswith(f"{k}.") for other in keys)]
    offered = {word.removesuffix("=") for word in offer("") if word.endswith("=")}
    assert offered == {*leaves, *more}
    assert offer("rounds.floor=") == ["rounds.floor=true", "rounds.floor=false"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_asks_as_the_pages_tell(tmp_path):
    """The line of docs/quickstart.md, and what bash does when Tab is pressed."""
    register = Path(sys.executable).parent / "register-python-argcomplete"
    if not register.is_file():
        pytest.skip("argcomplete's commands are in no folder of this environment")
    (tmp_path / "semi").write_text(f'#!/bin/sh\nexec {sys.executable} -m semi "$@"\n')
    (tmp_path / "semi").chmod(0o755)
    script = (
        f'eval "$({register} semi)"\n'
        "COMP_LINE='semi train mer'; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9\n"
        "COMP_WORDS=($COMP_LINE); COMP_CWORD=2\n"
        '_python_argcomplete semi mer train; echo "${COMPREPLY[@]}"\n'
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                          env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout.split() == ["mer2024_semi"], done.stderr
