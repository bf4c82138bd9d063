"""Writes the tables of licences.md from the metadata of what pyproject.toml asks for.

    make licences

What is installed says it itself; of the rest (extras) the newest wheel that is allowed is fetched
by pip, without what it needs, and read. Nothing of it is installed or run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
MARK = "<!-- made by docs/licences.py -->"
# Of what has no wheel, so that its metadata cannot be read without running its setup.
STATED = {"fairseq-fixed": ("", "no wheel whose metadata could be read; fairseq itself is MIT")}


def required() -> dict[str, list[str]]:
    """Returns {what asks for it: requirements} of pyproject.toml; "required", then each extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    plain = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    found = {"required": re.findall(r'^  "([^"]+)"', plain, flags=re.M)}
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    for name, listed in re.findall(r"^(\w+) = \[(.*?)\](?= #|$)", extras, flags=re.M):
        found[name] = re.findall(r'"([^"]+)"', listed)
    return found


def name_of(requirement: str) -> str:
    """Returns the name of a distribution in a requirement, as registries compare it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def facts_of(requirement: str) -> tuple[str, str]:
    """Returns version and licence of a distribution as its metadata state them."""
    name = name_of(requirement)
    if name in STATED:
        return STATED[name]
    try:
        told: Message = metadata.metadata(name)  # pyright: ignore[reportAssignmentType]
    except metadata.PackageNotFoundError:
        told = fetched(requirement)
    return told["Version"].partition("+")[0], licence_of(told)


def licence_of(told: Message) -> str:
    """Returns the licence that metadata state: as an expression, in a line, or as classifiers."""
    line = (told["License"] or "").strip()
    classes = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or [] if "License" in c]
    if told["License-Expression"]:
        return told["License-Expression"]
    if line and "\n" not in line and len(line) < 60:
        return line
    return "; ".join(c for c in classes if c != "OSI Approved") or "not stated"


def fetched(requirement: str) -> Message:
    """Returns the metadata of the newest wheel that a requirement allows."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder,
                   "--only-binary=:all:", "--disable-pip-version-check", requirement]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            return HeaderParser().parsestr(wheel.read(name).decode("utf-8", "replace"))


def brought() -> list[str]:
    """Returns the distributions that the required ones bring along here, and theirs, by name."""
    first = [name_of(r) for r in required()["required"]]
    found, left = set(first), list(first)
    while left:
        try:
            needs = metadata.requires(left.pop()) or []
        except metadata.PackageNotFoundError:
            continue
        names = {name_of(n) for n in needs if "extra ==" not in n}
        left += sorted(names - found)
        found |= names
    installed = {name_of(d.metadata["Name"]) for d in metadata.distributions()}
    return sorted((found - set(first)) & installed)


def tables() -> str:
    """Returns the two tables: what semi asks for, and what that brings along."""
    rows = ["| package | asked for by | version read | licence |", "|---|---|---|---|"]
    asked: dict[str, list[str]] = {}
    for who, listed in required().items():
        for requirement in listed:
            asked.setdefault(requirement, []).append(who)
    for requirement, who in sorted(asked.items(), key=lambda item: name_of(item[0])):
        version, licence = facts_of(requirement)
        rows.append(f"| `{requirement}` | {', '.join(who)} | {version} | {licence} |")
    more = ["| package | version read | licence |", "|---|---|---|"]
    for name in brought():
        version, licence = facts_of(name)
        more.append(f"| `{name}` | {version} | {licence} |")
    between = "What the required ones bring along, on Linux:"
    return "\n".join(rows) + f"\n\n{between}\n\n" + "\n".join(more)


if __name__ == "__main__":
    before, _, after = PAGE.read_text(encoding="utf-8").split(MARK)
    PAGE.write_text(f"{before}{MARK}\n\n{tables()}\n\n{MARK}{after}", encoding="utf-8")
