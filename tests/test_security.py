"""SECURITY.md claims only what a test holds, and names what the program is."""

import ast
import re
from pathlib import Path

import pytest

from models.encoders import array_files
from semi.data.corpora import pickles
from semi.data.formats import workbook_limits
from semi.outside import endpoint
from semi.review import guard
from semi.serving.uploads import UploadLimits

ROOT = Path(__file__).parents[1]
# The first release without what is known of a library and matters to how it is used here.
MENDED = {
    "torch": "2.6",  # CVE-2025-32434: weights_only ran code
    "jinja2": "3.1.6",  # CVE-2024-56326, CVE-2025-27516: out of the sandbox that prompts run in
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701: links in a lock's place
    "pyarrow": "14.0.1",  # CVE-2023-47248: code in a Parquet file
    "starlette": "0.49.1",  # CVE-2025-54121, CVE-2025-62727: forms and ranges that block the server
    "python-multipart": "0.0.30",  # CVE-2024-53981, CVE-2026-24486, GHSA-vffw-93wf-4j4q
    "ray": "2.54",  # CVE-2025-62593, CVE-2026-27482: a web page that commands a cluster
}
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))
CLAIMS = [
    line for line in PAGE.splitlines() if re.match(r"\| (?!-|input|service|output)", line)
]  # every line of the three tables


def test_the_claims_and_their_tests_are_found():
    assert len(CLAIMS) == 20 and len(NAMED) > 45


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{f}-{n}" for f, n in NAMED])
def test_a_test_that_is_named_exists(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_every_claim_names_a_test():
    for line in CLAIMS:
        assert re.search(r"`test_\w+\.py::\w+`", line), line[:60]


def test_every_path_like_word_is_of_a_test_that_is_named_whole():
    assert not re.findall(r"`(test_\w+\.py)`", PAGE.replace("`tests/test_security.py`", ""))


@pytest.mark.parametrize("name", MENDED)
def test_no_version_is_allowed_that_is_known_to_be_vulnerable(name):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    floors = re.findall(rf'"{re.escape(name)}>=([\d.]+)', text)
    assert floors
    for floor in floors:
        assert [*map(int, floor.split("."))] >= [*map(int, MENDED[name].split("."))], floor


def test_the_threat_model_has_ten_lines():
    part = PAGE.partition("## The threat model in ten lines")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line]
    assert [line.partition(".")[0] for line in lines] == [str(n) for n in range(1, 11)]


def test_limits_are_those_of_the_program():
    limits = UploadLimits()
    assert f"{limits.bytes // 10**6} MB and {limits.files} utterances a request" in PAGE
    assert f"{limits.seconds:g} s to send it" in PAGE
    assert f"{endpoint.REPLY_BYTES // 10**6} MB and `--timeout` seconds at most" in PAGE
    assert f"{guard.BODY_LIMIT // 1024} KB a request" in PAGE
    assert f"{pickles.LARGEST // 10**6} MB at most, no more values than bytes" in PAGE
    for module in (array_files, workbook_limits):
        assert (module.SMALL // 2**20, module.PACKED) == (64, 100)
    assert f"no more than {workbook_limits.CELLS // 10**6} million cells" in PAGE
    assert len(pickles.KNOWN) == 5 and "knows five names of NumPy" in PAGE
