"""Commands of the pages that are not semi's own, their Python and their settings: all exist."""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from test_docs import DOCS, FENCE, PAGES, ROOT, name_of, source

import semi
from semi.config.schema import Config, load_config
from semi.config.yaml_format import hints_of

ALL = [*PAGES, *(ROOT / n for n in ("CONTRIBUTING.md", "SECURITY.md", "examples/README.md"))]
OURS = ("semi", "models", "noise", "pseudo_label")
STARTS = ("make", "pip", "python", "docker", "curl", "tensorboard", "mlflow", "wandb", "jupyter",
          "ray", "OMP_NUM_THREADS=1")  # fmt: skip
# Words that stand for a place of the reader's.
PLACES = re.compile(r"FOLDER|WORK|SPEECH|TEXT|WHISPER_FOLDER|FOLDER_OF_THE_ORIGINALS|URL")


def foreign_commands(path):
    """Yields the words of every command line on a page that does not begin with semi."""
    text = source(path)
    lines = [line for _, code in FENCE.findall(text) for line in code.splitlines()]
    plain = FENCE.sub("", text)
    lines += re.findall(r"^    (\S.*)$", plain, flags=re.M)
    lines += re.findall(r"`([^`]+)`", plain.replace("\n", " "))
    for line in lines:
        line = re.sub(r"\s+#.*", "", line).strip()
        if line.startswith(tuple(f"{start} " for start in STARTS)):
            words = shlex.split(line.replace("PATH/", ""))
            yield [w for w in words if not re.fullmatch(r"[A-Z_]+=\S*", w) or words[0] == "make"]


LINES = [(name_of(p), words) for p in ALL for words in foreign_commands(p)]
# Programs of others that the pages tell about, and nothing of which is in this repository.
ELSEWHERE = ("main-release.py",)


def lines_of(*starts):
    """Returns the parameters of a test of the lines that begin so."""
    found = [(page, words) for page, words in LINES if words[: len(starts)] == list(starts)]
    ids = [f"{page}: {' '.join(words)}" for page, words in found]
    return pytest.mark.parametrize(("page", "words"), found, ids=ids)


def test_commands_of_every_kind_are_found():
    firsts = {words[0] for _, words in LINES}
    assert {"make", "pip", "python", "docker", "curl", "tensorboard"} <= firsts
    assert len(LINES) > 60


@lines_of("make")
def test_what_is_made_is_a_target(page, words):
    made = source(ROOT / "Makefile")
    for word in words[1:]:
        name, is_setting, _ = word.partition("=")
        if is_setting:
            assert re.search(rf"\b{name} (\?=|:=)", made) or f"$({name})" in made, word
        else:
            assert re.search(rf"^{name}:", made, flags=re.M), word


@lines_of("python")
def test_a_program_exists_and_has_the_options(page, words):
    program, given = words[1], words[2:]
    if program == "-u":
        program, given = given[0], given[1:]
    if program in ELSEWHERE:
        return
    if program == "-m":
        module = given[0]
        ours = module.partition(".")[0] in OURS
        assert ours is False or importlib.util.find_spec(module), module
        assert ours or module in ("pip", "build", "http.server", "pytest"), module
        return
    if program == "-c":
        compile(" ".join(given), page, "exec")
        return
    path = next((p for p in (ROOT / program, (ROOT / page).parent / program) if p.is_file()), None)
    assert path is not None, program
    text = source(path)
    for word in given:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in text, word
        elif (path.parent / word).is_file() or (ROOT / word).is_file():
            continue
        elif "=" not in word and not PLACES.fullmatch(word) and not word.isdecimal():
            assert f'"{word}"' in text, f"{program} knows no {word}"


@lines_of("pip")
def test_what_is_installed_exists(page, words):
    text = source(ROOT / "pyproject.toml")
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", extras, flags=re.M))
    for named in re.findall(r"(?:semi-emotion|\.)\[([\w,]+)\]", " ".join(words)):
        assert set(named.split(",")) <= known, named
    if "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file()


@lines_of("curl")
def test_an_address_that_is_called_is_one_of_the_service(page, words):
    (address,) = [w for w in words if w.startswith("http")]
    path = "/" + address.split("/", 3)[3]
    assert f'"{path}"' in source(ROOT / "semi" / "serving" / "app.py"), path


# --- Python ---

BLOCKS = [
    (name_of(p), n, code)
    for p in ALL
    for n, (kind, code) in enumerate(FENCE.findall(source(p)))
    if kind == "python"
]


@pytest.mark.parametrize(("page", "n", "code"), BLOCKS, ids=[f"{p}-{n}" for p, n, _ in BLOCKS])
def test_names_of_ours_in_python_exist_and_take_what_they_are_given(page, n, code):
    for node in ast.walk(ast.parse(code)):
        origin = (getattr(node, "module", None) or "") if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and origin.partition(".")[0] in OURS:
            module = importlib.import_module(origin)
            for alias in node.names:
                found = hasattr(module, alias.name)
                assert found or importlib.util.find_spec(f"{origin}.{alias.name}"), alias.name
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "semi":
            assert hasattr(semi, node.attr), node.attr
        elif isinstance(node, ast.Call) and re.fullmatch(r"semi\.\w+", ast.unparse(node.func)):
            name = ast.unparse(node.func).removeprefix("semi.")
            takes = inspect.signature(getattr(semi, name))
            named = {keyword.arg: None for keyword in node.keywords if keyword.arg}
            takes.bind_partial(*node.args, **named)


# --- settings and JSON ---

SECTIONS = set(hints_of(Config))


def settings_blocks():
    """Yields (page, number, text) of the blocks that are settings: YAML with sections of ours."""
    for path in ALL:
        for n, (kind, code) in enumerate(FENCE.findall(source(path))):
            if kind not in ("", "yaml"):
                continue
            try:
                content = yaml.safe_load(code)
            except yaml.YAMLError:
                continue
            if isinstance(content, dict) and content and set(content) <= SECTIONS:
                yield name_of(path), n, code


YAMLS = list(settings_blocks())


@pytest.mark.parametrize(("page", "n", "code"), YAMLS, ids=[f"{p}-{n}" for p, n, _ in YAMLS])
def test_settings_that_are_shown_are_settings(page, n, code, tmp_path):
    (tmp_path / "shown.yaml").write_text(code, encoding="utf-8")
    load_config(tmp_path / "shown.yaml", ["data.manifest=mine.csv"], elsewhere=True)


def test_json_is_json():
    blocks = [code for p in ALL for kind, code in FENCE.findall(source(p)) if kind == "json"]
    assert blocks and all(json.loads(code) for code in blocks)


# --- pages ---


def test_every_page_is_reached_from_the_first_one_by_its_links():
    reached, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)", FENCE.sub("", source(page)))
        left += [(page.parent / target).resolve() for target in targets]
    apart = {name_of(p) for p in DOCS.rglob("*.md")} - {name_of(p) for p in reached}
    assert apart <= {name_of(p) for p in (DOCS / "api").glob("*.md")}, apart


def test_the_readme_leads_to_what_stands_beside_it():
    text = source(Path(ROOT / "README.md"))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        assert f"]({name})" in text, name
