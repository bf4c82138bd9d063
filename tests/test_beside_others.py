"""The page that sets semi beside others says what its facts say, and ours are so."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


BESIDE = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "beside_others.py")))
FACTS = BESIDE.facts()


def test_the_page_is_what_the_facts_make():
    text = BESIDE.PAGE.read_text(encoding="utf-8")
    assert BESIDE.paged(text, FACTS) == text, "run: python benchmarks/beside_others.py page"


def test_every_fact_shows_where_it_stands():
    names = set(FACTS["libraries"])
    for fact in FACTS["facts"]:
        assert names >= set(fact) - {"fact"}, fact["fact"]
        for name in names & set(fact):
            assert fact[name]["says"] and fact[name]["shown"], (fact["fact"], name)
            assert all(BESIDE.words(evidence) for evidence in fact[name]["shown"])
            only_read = all("read" in evidence for evidence in fact[name]["shown"])
            assert only_read == ("wheel" not in FACTS["libraries"][name] and name != BESIDE.OURS)


def test_a_release_that_is_named_is_one_that_can_be_fetched():
    for name, library in FACTS["libraries"].items():
        if name in (BESIDE.OURS, "mertools"):
            continue
        version = library["wheel"].partition("==")[2]
        assert re.fullmatch(r"[\d.]+", version) and version in library["release"]
        assert str(library["uploaded"]) in library["release"]


@pytest.mark.parametrize("fact", FACTS["facts"], ids=[f["fact"] for f in FACTS["facts"]])
def test_what_is_said_of_semi_is_so(fact):
    files = BESIDE.checkout()
    for evidence in fact["semi"]["shown"]:
        assert BESIDE.missing(evidence, files) is None


@pytest.mark.parametrize(
    ("evidence", "problem"),
    [
        ({"metadata": "License: MIT"}, "no line 'License: MIT' in its metadata"),
        ({"text": "lib/*.py", "has": "GroupKFold"}, "does not stand in lib/*.py (2 files)"),
        ({"text": "lib/gone.py", "has": "split"}, "does not stand in lib/gone.py (0 files)"),
        ({"none": "pseudo.?label"}, "'pseudo.?label' stands in lib/b.py"),
        ({"count": "lib/*.py", "of": "def ", "times": 3}, "'def ' stands 2 times in lib/*.py"),
        ({"object": "pseudo_label.RULES", "size": 2}, "len(pseudo_label.RULES) is"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_fact_that_a_release_does_not_show_is_named(evidence, problem):
    files = {
        "lib/a.py": "def split(rows): ...",
        "lib/b.py": "def fit(Pseudo_Labels): ...",
        "lib-1.dist-info/METADATA": "Name: lib\nLicense: BSD",
    }
    assert problem in BESIDE.missing(evidence, files)
    held = [
        {"metadata": "License: BSD"},
        {"text": "lib/*.py", "has": r"def split\("},
        {"none": "bootstrap"},
        {"count": "lib/*.py", "of": "def ", "times": 2},
    ]
    assert all(BESIDE.missing(e, files) is None for e in held)
