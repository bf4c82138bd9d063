"""MkDocs hook: fills pages with what the source says, so that no setting is written down twice.

`<!-- settings -->` becomes the tables of every setting, `<!-- modules of PACKAGE -->` one
mkdocstrings block for each module of a package, `<!-- notebook NAME -->` the cells of an example
with what they showed.
"""

from __future__ import annotations

import dataclasses
import html
import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEAD = "| setting | type | default | meaning |\n|---|---|---|---|"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns a page's text with its markers replaced; MkDocs calls this."""
    if "<!-- settings -->" in markdown:
        markdown = markdown.replace("<!-- settings -->", settings())
    markdown = re.sub(r"<!-- notebook (\w+) -->", lambda m: notebook(m[1]), markdown)
    return re.sub(r"<!-- modules of ([\w.]+) -->", lambda m: modules(m[1]), markdown)


def settings() -> str:
    """Returns Markdown with one table a section of `semi.config.schema.Config`."""
    from semi.config.schema import Config

    top = "Settings of the run itself stand before all sections."
    return "\n\n".join(_section(Config(), "", top))


def modules(package: str) -> str:
    """Returns a mkdocstrings block for each public module of a package, by name."""
    folder = ROOT.joinpath(*package.split("."))
    names = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    return "\n\n".join(f"::: {package}.{name}" for name in names)


def notebook(name: str) -> str:
    """Returns a notebook of examples/ as Markdown, without its title, headings one lower."""
    path = ROOT / "examples" / f"{name}.ipynb"
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            source = re.sub(r"^# .*\n", "", source)
            source = re.sub(r"\]\((\w+)\.ipynb\)", r"](#\1)", source)
            parts.append(re.sub(r"^#", "##", source.replace("](../docs/", "]("), flags=re.M))
            continue
        kind = "python"
        if source.startswith("!"):
            kind, source = "", re.sub(r"^!", "", source, flags=re.M)
        shown = "".join(
            "".join(out.get("text") or out["data"]["text/plain"]) for out in cell["outputs"]
        )
        parts.append(f"```{kind}\n{source}\n```")
        parts += [f"```text\n{shown.rstrip()}\n```"] if shown else []
    return "\n\n".join(parts)


def _section(config: Any, prefix: str, meaning: str) -> Iterator[str]:
    """Yields the heading, the sentence and the table of a section, then its subsections."""
    from semi.config import yaml_format as yt

    docs, hints, rows, below = yt.field_docs(type(config)), yt.hints_of(type(config)), [], []
    for name, hint in hints.items():
        value, key = getattr(config, name), f"{prefix}{name}"
        told = docs.get(name) or inspect.cleandoc(type(value).__doc__ or "").splitlines()[0]
        if dataclasses.is_dataclass(value):
            below.append((value, f"{key}.", told))
            continue
        rows.append(_row(key, yt.type_words(hint), value, told))
        entry = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None
        if dataclasses.is_dataclass(entry):  # sections that the user names, such as encoders.extra
            below.append((typing.cast(type, entry)(), f"{key}.<name>.", told))
    title = prefix.rstrip(".")
    level = "##" if title.count(".") == 0 else "###"
    yield f"{level} `{title}`" if title else "## Top level"
    yield _plain(meaning)
    if rows:
        yield HEAD + "\n" + "\n".join(rows)
    for value, start, told in below:
        yield from _section(value, start, told)


def _row(key: str, kind: str, value: Any, meaning: str) -> str:
    shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    shown = shown.removesuffix("\n").removesuffix("...").strip()
    anchor = "" if "<" in key else f"{{ #{key} }}"
    return f"| `{key}`{anchor} | {kind} | `{shown}` | {_plain(meaning)} |"


def _plain(text: str) -> str:
    """Returns text that Markdown shows letter for letter, also inside a table."""
    text = html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")
    return re.sub(r"([*_`\[\]])", r"\\\1", text)
