"""Counts in sentences: one row, two rows; never '1 rows' or 'row(s)'."""

import ast
import re
from pathlib import Path

import pytest

from semi.data.wording import counted

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "semi").rglob("*.py"))
NOUNS = re.compile(
    r"(?:[a-z-]+ ){0,2}?(?:rows|files|sounds|texts|labels|columns|classes|utterances|speakers|"
    r"groups|recordings|sentences|cells|arrays|models|members|layers|settings|trials|runs|rounds|folds|"
    r"problems|raters|ids|seeds|windows|tables|items|comparisons|dialogues|warnings|shards|turns|"
    r"films|transcripts|sheets|threads|channels|features|names|votes|tasks|samples|fields|pages|takes)\b"
)


@pytest.mark.parametrize(("count", "words", "expected"), [
    (0, ("row",), "0 rows"), (1, ("row",), "1 row"), (1200, ("row",), "1,200 rows"),
    (2, ("class",), "2 classes"), (2, ("search",), "2 searches"), (2, ("entry",), "2 entries"),
    (2, ("day",), "2 days"), (1, ("row", "is", "are"), "1 row is"),
    (2, ("row", "is", "are"), "2 rows are"),
])  # fmt: skip
def test_a_count_with_its_noun(count, words, expected):
    assert counted(count, *words) == expected


def is_count(value):
    """Says whether an expression is a number of things: a length or a sum, or called like one."""
    if isinstance(value, ast.Call):
        called = value.func.id if isinstance(value.func, ast.Name) else ""
        called = value.func.attr if isinstance(value.func, ast.Attribute) else called
        return called in ("len", "sum", "int", "nunique")
    return isinstance(value, ast.BinOp) and (is_count(value.left) or is_count(value.right))


def uncounted(path):
    """Returns the places where a number stands before a noun that is always plural."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                behind = str(after.value)
                if is_count(value.value) and NOUNS.match(behind[1:]):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {behind[:30]!r}")
    return found


def test_every_count_in_a_sentence_goes_with_its_noun():
    assert [place for path in SOURCES for place in uncounted(path)] == []


def test_no_sentence_leaves_the_plural_to_the_reader():
    text = re.compile(r"[a-z]\((?:s|es)\)(?![\w(])")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value[:40]!r}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text.search(node.value) and "\n" not in node.value
    ]
    assert found == []
