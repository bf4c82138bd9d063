"""Facts about semi and libraries beside it: held against their releases, and made into a page.

    python benchmarks/beside_others.py page     # writes the tables of docs/beside-others.md anew
    python benchmarks/beside_others.py check    # looks for every fact in the release that it names
    python benchmarks/beside_others.py sizes    # installs each, counts packages and megabytes

The facts stand in beside_others.yaml, each with what shows it. `check` fetches the pinned wheels by
pip and says what it does not find there; `sizes` makes an environment for each. Days of upload need
a pip that knows `--uploaded-prior-to`. A cell that nothing shows stays empty.
"""

from __future__ import annotations

import datetime
import fnmatch
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT / "benchmarks" / "beside_others.yaml"
PAGE = ROOT / "docs" / "beside-others.md"
OURS = "semi"  # the library that is this checkout
MARK = "<!-- made by benchmarks/beside_others.py -->"
TEXTS = (".py", ".toml", ".yaml", ".j2", "METADATA", "entry_points.txt", ".html")


def facts() -> dict[str, Any]:
    """Returns the facts file: `libraries`, `facts` (a list, in the order of the page), `sizes`."""
    return yaml.safe_load(FACTS.read_text(encoding="utf-8"))


# --- the page ---


def tables(given: dict[str, Any]) -> str:
    """Returns the two tables of the page: what each library does, and where that stands."""
    libraries = given["libraries"]
    head = ["", *(library["title"] for library in libraries.values())]
    rows = [head, ["---"] * len(head)]
    rows.append(["**release**", *(library["release"] for library in libraries.values())])
    sources = [["fact", "library", "where it stands"], ["---"] * 3]
    for fact in given["facts"]:
        cells = {name: fact.get(name, {}) for name in libraries}
        rows.append([f"**{fact['fact']}**", *(cell.get("says", "") for cell in cells.values())])
        for name, cell in cells.items():
            shown = "; ".join(words(evidence) for evidence in cell.get("shown", []))
            if shown:
                sources.append([fact["fact"], libraries[name]["title"], shown])
    sizes = [given["sizes"].get(name, {}) for name in libraries]
    rows.append(["**packages installed**", *(str(size.get("packages", "")) for size in sizes)])
    rows.append(["**MB installed**", *(f"{s['megabytes']:,}" if s else "" for s in sizes)])
    return "\n\n".join("\n".join(f"| {' | '.join(r)} |" for r in t) for t in (rows, sources))


def words(evidence: dict[str, Any]) -> str:
    """Returns one piece of evidence as the page says it."""
    (kind, where), *rest = evidence.items()
    value = str(rest[0][1]).replace("|", "\\|") if rest else ""
    where = str(where).replace("|", "\\|")
    return {
        "metadata": f"its metadata: `{where}`",
        "text": f"`{where}` has `{value}`",
        "none": f"no source file has `{where}`, in any case",
        "count": f"`{where}` gives `{value}` {evidence.get('times')} times",
        "object": f"`len({where})` is {value}",
        "read": f"read, not checked: `{where}` has `{value}`",
    }[kind]


def page() -> None:
    """Writes the tables into the page, between its two marks."""
    PAGE.write_text(paged(PAGE.read_text(encoding="utf-8"), facts()), encoding="utf-8")


def paged(text: str, given: dict[str, Any]) -> str:
    """Returns a page with the tables of the facts between its two marks."""
    before, _, after = text.split(MARK)
    return f"{before}{MARK}\n\n{tables(given)}\n\n{MARK}{after}"


# --- the checks ---


def check() -> int:
    """Prints every fact that is not found in its release; returns how many there are."""
    given, wrong, held = facts(), 0, 0
    for name, library in given["libraries"].items():
        files = checkout() if name == OURS else release(library)
        if files is None:
            print(f"{library['title']}: read in a copy of its repository, not checked")
            continue
        for fact in given["facts"]:
            for evidence in fact.get(name, {}).get("shown", []):
                problem = missing(evidence, files)
                held += problem is None
                if problem is not None:
                    wrong += 1
                    print(f"{library['title']}, {fact['fact']}: {problem}")
        if library.get("uploaded") and not uploaded_on(library["wheel"], library["uploaded"]):
            wrong += 1
            print(f"{library['title']}: was not uploaded on {library['uploaded']}")
    print(f"{held} pieces of evidence found, {wrong} not")
    return wrong


def missing(evidence: dict[str, Any], files: dict[str, str]) -> str | None:
    """Returns what is wrong with a piece of evidence, None where the files show it.

    Args:
        evidence: as in the facts file.
        files: path -> text, of a release or of this checkout.
    """
    (kind, where), *rest = evidence.items()
    value: Any = rest[0][1] if rest else None
    if kind == "read":
        return None
    if kind == "object":
        size = len(imported(where))
        return None if size == value else f"len({where}) is {size}, not {value}"
    if kind == "metadata":
        lines = [x for n, t in files.items() if n.endswith("METADATA") for x in t.splitlines()]
        return None if where in lines else f"no line {where!r} in its metadata"
    if kind == "none":
        found = [n for n, t in files.items() if n.endswith(".py") and re.search(where, t, re.I)]
        return f"{where!r} stands in {found[0]}" if found else None
    chosen = [text for name, text in files.items() if fnmatch.fnmatch(name, where)]
    times = sum(len(re.findall(value, text)) for text in chosen)
    if kind == "count":
        return None if times == evidence["times"] else f"{value!r} stands {times} times in {where}"
    return None if times else f"{value!r} does not stand in {where} ({len(chosen)} files)"


def imported(name: str) -> Any:
    """Returns the object of a dotted name."""
    import importlib

    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def checkout() -> dict[str, str]:
    """Returns path -> text of what is ours: the four packages and what stands beside them."""
    tops = ("semi", "models", "noise", "pseudo_label")
    paths = [p for top in tops for p in (ROOT / top).rglob("*") if p.name.endswith(TEXTS)]
    paths += [ROOT / "pyproject.toml"]
    return {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def release(library: dict[str, Any]) -> dict[str, str] | None:
    """Returns path -> text of a pinned wheel without its tests; None of what is on no registry."""
    if "wheel" not in library:
        return None
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--only-binary=:all:", "-d", folder, library["wheel"])
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            names = [n for n in wheel.namelist() if n.endswith(TEXTS) and "tests/" not in n]
            return {name: wheel.read(name).decode("utf-8", "replace") for name in names}


def uploaded_on(wheel: str, day: datetime.date) -> bool:
    """Says whether the registry had a release at the end of a day and not at its beginning."""
    # wheels in local folders carry no day, so nothing that names such folders is heeded
    clean = {k: v for k, v in os.environ.items() if k != "PIP_FIND_LINKS"}
    clean["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        wanted = ["download", "--no-deps", "--only-binary=:all:", "-d", folder, wheel]
        days = (day, day + datetime.timedelta(days=1))
        status = [pip(*wanted, "--uploaded-prior-to", str(d), check=False, env=clean) for d in days]
    return bool(status[0]) and not status[1]


def pip(*arguments: str, python: str = sys.executable, check: bool = True, **how: Any) -> int:
    """Runs pip and returns its status; CalledProcessError where it fails and must not."""
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=check, capture_output=True, **how).returncode


# --- what installing takes ---


def sizes(names: list[str]) -> None:
    """Installs each library in an environment of its own and prints packages and megabytes."""
    for name, library in facts()["libraries"].items():
        wanted = str(ROOT) if name == OURS else library.get("wheel")
        if wanted is None or (names and name not in names):
            continue
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            (site,) = Path(folder).glob("lib/python3*/site-packages")
            before = set(site.iterdir())
            python = f"{folder}/bin/python"
            status = pip("install", "--no-compile", wanted, python=python, check=False)
            if status:
                print(f"{name}: could not be installed")
                continue
            count = len([p for p in set(site.glob("*.dist-info")) - before])
            size = sum(p.stat().st_size for top in set(site.iterdir()) - before for p in under(top))
            print(f"  {name}: {{packages: {count}, megabytes: {round(size / 1e6)}}}", flush=True)


def under(path: Path) -> Iterator[Path]:
    """Yields the files at and below a path."""
    yield from (p for p in [path, *path.rglob("*")] if p.is_file() and not p.is_symlink())


def main(arguments: list[str]) -> int:
    """Does what the first word says; returns the status."""
    verb = arguments[0] if arguments else ""
    if verb == "page":
        page()
    elif verb == "check":
        return min(check(), 1)
    elif verb == "sizes":
        sizes(arguments[1:])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
