"""README and docs: code runs, command lines parse, settings exist, links lead somewhere."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

import models.fusion.config as fusion_settings
from models.fusion import FUSIONS
from pseudo_label import RULES, SelectionConfig
from semi.cli import VERBS, parse_arguments
from semi.config.recipes import resolved
from semi.config.schema import Config, ConfigProblems, load_config
from semi.config.yaml_format import all_keys, hint_at, hints_of
from semi.data.corpora import CORPORA, bundled_emodb, corpus_options
from semi.experiments.transfer.config import SHORT_WORDS, TransferConfig
from semi.shipped import recipe_names
from semi.training.rows import read_rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.S | re.M)


def source(path):
    return path.read_text(encoding="utf-8")


def name_of(path):
    return str(path.relative_to(ROOT))


def hook():
    """Returns the module that MkDocs calls to fill pages."""
    spec = importlib.util.spec_from_file_location("reference_hook", DOCS / "reference_hook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- code ---

EXAMPLES = re.findall(r"^## (An? [^\n]+)\n.*?^```python\n(.*?)^```", source(DOCS / "extending.md"),
                      flags=re.S | re.M)  # fmt: skip


def test_the_four_examples_are_found():
    assert [title.split()[-1] for title, _ in EXAMPLES] == ["rule", "model", "reader", "encoder"]


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_runs(title, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fusion_settings, "KINDS", fusion_settings.KINDS)
    before = [dict(table) for table in (RULES, FUSIONS, CORPORA)]
    try:
        exec(compile(code, f"docs/extending.md: {title}", "exec"), {"__name__": "example"})
    finally:
        for table, kept in zip((RULES, FUSIONS, CORPORA), before, strict=True):
            table.clear()
            table.update(kept)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_python_compiles(path):
    for kind, code in FENCE.findall(source(path)):
        if kind == "python":
            compile(code, name_of(path), "exec")


# --- what the demo prints ---


def printed_by_the_demo(path):
    """Returns the block of a page that shows the end of the demo."""
    blocks = [code for _, code in FENCE.findall(source(path)) if code.startswith("Scores in %")]
    assert len(blocks) == 1, path
    return blocks[0]


def test_the_demo_is_shown_alike_and_with_the_rows_that_it_draws():
    shown = printed_by_the_demo(ROOT / "README.md")
    assert shown == printed_by_the_demo(DOCS / "quickstart.md")
    words = [f"data.manifest={bundled_emodb()}"]
    config = load_config(ROOT / "configs" / "demo.yaml", words)
    manifest, splits = read_rows(config)
    test = splits.role == "test"
    speakers = [
        manifest.table.loc[rows, "speaker"].nunique() for rows in (test, splits.role == "labeled")
    ]
    head = (
        f"Scores in % on {test.sum()} gold held-out test rows, 95 % intervals over {speakers[0]} "
    )
    assert shown.startswith(head)
    assert f"over {speakers[1]} speakers: " in shown and f"over {speakers[0]} speakers: " in shown
    rows = re.findall(r"^(\d)  +(warm start|accepted) +(-|\d+)  ", shown, flags=re.M)
    settled, _ = resolved(config, *((splits.role == role).sum() for role in ("labeled", "pool")))
    assert [int(number) for number, _, _ in rows] == list(range(settled.rounds.max_rounds + 1))
    assert f"a rule picked {rows[1][2]} of the" in source(DOCS / "quickstart.md")


def test_every_extra_is_listed_where_installing_is_explained():
    text = source(ROOT / "pyproject.toml").partition("[project.optional-dependencies]")[2]
    extras = re.findall(r"^(\w+) = \[", text.partition("\n[")[0], flags=re.M)
    page = source(DOCS / "quickstart.md")
    assert len(extras) > 8 and re.findall(r"^\| `(\w+)` \|", page, flags=re.M) == extras
    listed = re.search(r"The extras are (.*?), for example", page, flags=re.S)
    assert listed is not None and re.findall(r"`(\w+)`", listed.group(1)) == extras


# --- command lines ---


def commands(path):
    """Yields every command line of `semi` on a page, without its comment and its placeholders."""
    text = source(path)
    blocks = [code for kind, code in FENCE.findall(text) if kind in ("", "yaml", "bash")]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (semi .*)$", text, flags=re.M)
    lines += re.findall(r"`(semi [a-z][^`]*)`", FENCE.sub("", text).replace("\n", " "))
    for line in lines:
        line = re.sub(r"\s+#.*", "", line).strip()
        if line.startswith("semi ") and not line.startswith(("semi VERB", "semi --")):
            yield [w for w in shlex.split(line.replace('"..."', "text")) if w != "..."]


LINES = [(name_of(p), words) for p in PAGES for words in commands(p)]


def test_the_pages_show_commands_of_every_verb():
    assert {words[1] for _, words in LINES} == set(VERBS)


@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{p}: {' '.join(w)}" for p, w in LINES])
def test_a_command_line_is_one(page, words):
    assert words[1] in VERBS
    if len(words) == 2 or words[2:] == ["-o"]:
        return  # the command's name alone
    args = parse_arguments(words[1:])
    given = [w for w in getattr(args, "words", None) or [] if "=" in w]
    files = [w for w in getattr(args, "words", None) or [] if "=" not in w]
    assert all(w.endswith(".yaml") or w in (*recipe_names(), "NAME") for w in files), files
    given += getattr(args, "vary", None) or []
    if args.verb == "manifest":
        if args.corpus in CORPORA:
            assert {w.partition("=")[0] for w in given} <= set(corpus_options(args.corpus))
    elif args.verb == "select":
        assert {w.partition("=")[0] for w in given} <= set(all_keys(SelectionConfig))
    elif args.verb == "transfer":
        keys = {w.partition("=")[0] for w in given}
        assert keys <= {*SHORT_WORDS, *all_keys(TransferConfig)}
    else:
        assert refused(given) == []
    for word in words:
        if word.startswith(("configs/", "benchmarks/")):
            assert (ROOT / word).is_file(), word


def refused(words):
    """Returns what is wrong with settings, leaving out what a table or a library would bring."""
    try:
        load_config(None, ["data.manifest=mine.csv", *words])
    except ConfigProblems as error:
        return [p for p in error.problems if "a library that is not installed here" not in p]
    return []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_setting_that_is_named_exists(path):
    sections = [s for s, hint in hints_of(Config).items() if hasattr(hint, "__dataclass_fields__")]
    pattern = rf"`((?:{'|'.join(sections)})(?:\.(?!json|safetensors)[a-z_]+)+)(?:[=:][^`]*)?`"
    for key in re.findall(pattern, source(path)):
        assert hint_at(Config, key) is not None or key.startswith("encoders.extra."), key


def test_the_page_of_settings_has_them_all():
    text = hook().settings()
    sections = [k for k in all_keys(Config) if hasattr(hint_at(Config, k), "__dataclass_fields__")]
    for key in set(all_keys(Config)) - set(sections):
        assert f"| `{key}`{{ #{key} }} |" in text, key
    assert "`encoders.extra.<name>.column`" in text


def test_a_notebook_becomes_a_part_of_a_page_with_what_it_showed():
    text = hook().on_page_markdown("## own_data\n\n<!-- notebook own_data -->\n")
    assert re.findall(r"^#+ .*", text, flags=re.M)[:2] == [
        "## own_data",
        "### 1. A folder of sounds",
    ]
    assert "```\nsemi check name=mine data.manifest=sounds/\n```\n\n```text\nread sounds" in text
    assert "](own-data.md)" in text and "](#review)" in text and ".ipynb)" not in text


# --- links ---


def anchors(path):
    """Returns the anchors of a page: headings, and those that building it adds."""
    text = source(path)
    found = {slug(h) for h in re.findall(r"^#+ (.*)$", FENCE.sub("", text), flags=re.M)}
    if "<!-- settings -->" in text:
        found |= set(all_keys(Config))
    for package in re.findall(r"<!-- modules of ([\w.]+) -->", text):
        for name in re.findall(r"::: (\S+)", hook().modules(package)):
            body = source(ROOT / f"{name.replace('.', '/')}.py")
            found |= {f"{name}.{d}" for d in re.findall(r"^(?:class|def) (\w+)", body, flags=re.M)}
    return found


def slug(heading):
    """Returns the anchor that MkDocs gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", source(path))):
        assert not target.startswith(("http", "/")), f"{target}: no links that need a network"
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if path.is_relative_to(DOCS):
            assert there.is_relative_to(DOCS), f"{target} is not part of the built pages"
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_menu():
    menu = set(re.findall(r": ([\w/-]+\.md)$", source(ROOT / "mkdocs.yml"), flags=re.M))
    assert menu == {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")}


def test_the_readme_fits_a_newcomer():
    assert len(source(ROOT / "README.md").splitlines()) <= 150
