"""What stands beside the code says what the code says: packages, versions, lists, commands."""

import re
import sys
from pathlib import Path

from test_imports import PARTS, imported, modules

import semi
from semi.errors import how_to_install

ROOT = Path(__file__).parents[1]
TOPS = ("semi", *PARTS)


def listed(name):
    """Returns a list of strings in pyproject.toml (3.10 has no reader of that format)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    body = re.search(rf"^{name} = \[(.*?)^\]", text, flags=re.S | re.M)
    assert body is not None
    return re.findall(r'"([^"]+)"', body.group(1))


def test_every_package_is_listed_for_installation():
    found = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for top in TOPS
        for p in (ROOT / top).rglob("__init__.py")
    }
    assert set(listed("packages")) == found


def test_requirements_txt_and_pyproject_agree():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [x for x in lines if x and not x.startswith("#")] == listed("dependencies")
    for extra in ("torchaudio", "fairseq"):
        assert any(x.startswith(f"# {extra}") and f"[{extra}]" in x for x in lines)


def test_what_the_readme_names_exists():
    from semi.cli import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in re.findall(r"^    semi (\w+) ", text, flags=re.M):
        assert verb in VERBS, verb
    for target in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_commands_people_are_told_exist_and_the_check_runs_them():
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for command in re.findall(r"^    make ([\w-]+) ", text, flags=re.M):
            assert f"\n{command}:" in made, f"{name}: make {command}"
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"make {command}\n" in check for command in ("lint", "test", "docs"))


def test_the_oldest_versions_are_the_floors_of_pyproject():
    """So that `make test-oldest` tests what is promised."""
    floors = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in listed("dependencies"))
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = {x.partition("==")[0]: x.partition("==")[2] for x in lines if not x.startswith("#")}
    assert list(pins) == list(floors)
    for name, floor in floors.items():
        version, _, why = pins[name].partition(" # ")
        first = [*floor.split("."), "0", "0"][:3]
        assert version.split(".")[:2] == first[:2], name
        assert version == ".".join(first) or why == f"{'.'.join(first)} was withdrawn", name


def test_the_previous_major_versions_are_allowed_by_pyproject():
    """So that `make test-pythons` tests what is promised, and not what it upgrades by itself."""
    ranges = {}
    for line in listed("dependencies"):
        name, floor, ceiling = re.match(r"([\w-]+)>=([\d.]+)(?:,<([\d.]+))?", line).groups()
        ranges[name] = [int(end.partition(".")[0]) for end in (floor, ceiling) if end]
    lines = (ROOT / "constraints-previous.txt").read_text(encoding="utf-8").splitlines()
    for line in (x for x in lines if not x.startswith("#")):
        name, _, below = line.partition("<")
        floor, ceiling = ranges[name]
        assert floor < int(below) < ceiling, line


def test_the_quick_tests_are_there():
    quick = re.search(r"^QUICK := (.*?)\)$", (ROOT / "Makefile").read_text(), flags=re.S | re.M)
    assert quick is not None
    names = quick.group(1).partition(",tests/test_%.py,")[2].replace("\\", "").split()
    assert len(names) > 20 and names == sorted(names)
    assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in names)


# Where a package is imported by another name than it is installed by.
INSTALLED_AS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def test_every_library_that_is_imported_is_declared():
    """Not left to what other libraries happen to bring along."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    found = [*listed("dependencies"), *re.findall(r'"([^"]+)"', extras)]
    declared = {re.split(r"[\[<>=]", x)[0].lower().replace("-", "_") for x in found}
    for top in TOPS:
        for path in modules(top):
            for line, name, _ in imported(path):
                root = name.partition(".")[0]
                if root not in sys.stdlib_module_names and root not in TOPS:
                    called = INSTALLED_AS.get(root, root).lower().replace("-", "_")
                    assert called in declared, f"{path.relative_to(ROOT)}:{line} imports {root}"


def test_types_are_installed_with_every_top_package():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for top in sorted({name.partition(".")[0] for name in listed("packages")}):
        assert (ROOT / top / "py.typed").is_file()
        assert f'\n{top} = ["py.typed"]\n' in text


def test_the_citation_names_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {semi.__version__}\n" in text and "\nlicense: Apache-2.0\n" in text
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{semi.__version__}]" in changes and "\n## [Unreleased]\n" in changes


def test_the_changelog_has_sections_of_entries_and_no_stray_lines():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = changes.partition("\n## [Unreleased]\n")[2].partition("\n## [")[0]
    parts = re.split(r"^### (.*)$", newest, flags=re.M)
    assert parts[0] == "\n" and parts[1::2] == ["Added", "Changed", "Removed", "Fixed"]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = body.strip("\n").splitlines()
        assert body.startswith("\n\n- ") and not body.startswith("\n\n\n"), title
        assert all(line.startswith(("- ", "  ")) for line in lines), title


def test_a_missing_library_is_asked_for_in_one_wording():
    """What pip understands of a wheel and of a checkout alike, of extras that there are."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^(\w+) = \[", project.partition("optional-dependencies]")[2], re.M))
    for path in sorted((ROOT / "semi").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"how_to_install\(['\"](\w+)", text)) <= extras, path
        assert path.name == "errors.py" or "pip install" not in text, path
    assert how_to_install("review") == "pip install 'semi-emotion[review]'"
