"""The page of licences lists all that semi asks for, brings along and names."""

import re
import runpy
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from test_packaging import listed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
LICENCES = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "licences.py")))
ASKED = LICENCES.required()


def test_the_program_finds_every_requirement_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert ASKED["required"] == listed("dependencies")
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert list(ASKED)[1:] == re.findall(r"^(\w+) = \[", extras, flags=re.M)
    everything = re.findall(r'"([^"\s]+)"', re.sub(r"#.*", "", extras))
    assert [r for extra in list(ASKED)[1:] for r in ASKED[extra]] == everything


@pytest.mark.parametrize("extra", ASKED)
def test_every_requirement_is_listed_with_a_licence(extra):
    for requirement in ASKED[extra]:
        row = re.search(rf"^\| `{re.escape(requirement)}` \| (.*) \| .* \| (.+) \|$", PAGE, re.M)
        assert row, f"{requirement} is not listed; run: make licences"
        assert extra in row[1].split(", ") and row[2] != "not stated", requirement


def test_nothing_is_listed_that_nobody_asks_for():
    rows = re.findall(r"^\| `([^`]+[<>=][^`]*)` \|", PAGE, flags=re.M)
    assert set(rows) == set().union(*ASKED.values()) and len(rows) == len(set(rows))


def test_every_encoder_that_a_recipe_names_is_listed():
    named = {"acoustic", "char-ngram"}
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        encoders = yaml.safe_load(path.read_text(encoding="utf-8")).get("encoders") or {}
        parts = (encoders.get(name) or {} for name in ("speech", "text"))
        named |= {part["model"] for part in parts if "model" in part}
    assert len(named) > 8
    for model in named - {"none", "precomputed"}:
        assert f"`{model}`" in PAGE, f"{model} is not among the encoders"


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ({"License-Expression": "MIT", "License": "x"}, "MIT"),
        ({"License": "BSD 3-Clause License"}, "BSD 3-Clause License"),
        ({"License": "All\nof it", "Classifier": "License :: OSI Approved :: BSD License"},
         "BSD License"),
        ({}, "not stated"),
    ],
    ids=["expression", "line", "classifier", "nothing"],
)  # fmt: skip
def test_a_licence_is_read_where_it_is_stated(told, licence):
    message = Message()
    for name, value in told.items():
        message[name] = value
    assert LICENCES.licence_of(message) == licence
