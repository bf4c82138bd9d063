"""Runs a notebook without Jupyter: prints its cells and what they show.

    python run.py own_data.ipynb             # writes into the current folder: begin in an empty one
    python run.py own_data.ipynb --record    # and keeps what was shown in the notebook

A cell is Python, or one `!semi ...` command a line; a command runs in this process, as it does on
the command line.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# Settings of pandas for tables as wide as a page; a terminal would cut them.
TABLES = ("display.width", 120, "display.max_columns", None, "display.max_colwidth", 70)
# How far work has come: it depends on the machine, and is not kept.
PROGRESS = re.compile(r".*: (?:[\d,]+ (?:of [\d,]+ )?\S.* (?:to do|left)|.* done in [\d.]+ s)")


class _Both(io.StringIO):
    """Keeps what is printed and passes it on."""

    def __init__(self, onward: TextIO) -> None:
        super().__init__()
        self.onward = onward

    def write(self, text: str) -> int:
        """Returns how many characters were written."""
        self.onward.write(text)
        return super().write(text)

    def flush(self) -> None:
        """Flushes what lies beyond."""
        self.onward.flush()


def shown_by(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yields every code cell with what it printed and the value of its last line, if there is one.

    The cells share one namespace and work in the current folder.

    Raises:
        SystemExit: a command of the notebook failed; its message is on standard error.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            printed = _Both(sys.stdout)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                value = _run("".join(cell["source"]), space)
            lines = printed.getvalue().replace(f"{Path.cwd()}{os.sep}", "").splitlines()
            yield cell, "\n".join(x for x in lines if not PROGRESS.fullmatch(x)), value


def _run(source: str, space: dict[str, Any]) -> Any:
    """Returns the value of a cell's last line; None where it is no expression, and of commands."""
    if source.startswith("!"):
        for line in source.replace("\\\n", " ").splitlines():
            _command(line)
        return None
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), space)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space)


def _command(line: str) -> None:
    """Runs `!semi VERB ...`."""
    from semi.cli import main

    program, *words = shlex.split(line.removeprefix("!"), comments=True)
    if program != "semi":
        raise SystemExit(f"{line}: only commands of semi can be run here, not {program}")
    try:
        status = main(words)
    except SystemExit as ended:  # argparse's way, of --help and --version
        status = ended.code
    if status:
        raise SystemExit(f"{line} ended with status {status}")


def outputs(count: int, printed: str, value: Any) -> list[dict[str, Any]]:
    """Returns a cell's outputs as a notebook keeps them (nbformat 4), all of them plain text."""
    kept: list[dict[str, Any]] = []
    if printed:
        kept.append({"name": "stdout", "output_type": "stream", "text": _lines(printed + "\n")})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        kept.append({"data": data, "execution_count": count, "metadata": {},
                     "output_type": "execute_result"})  # fmt: skip
    return kept


def _lines(text: str) -> list[str]:
    return [line.rstrip(" ") for line in text.splitlines(keepends=True)]


def main() -> None:
    """Runs one notebook."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebook", type=Path, help="such as own_data.ipynb")
    parser.add_argument("--record", action="store_true", help="keep what is shown in the notebook")
    args = parser.parse_args()
    import pandas as pd

    pd.set_option(*TABLES)
    book = json.loads(args.notebook.read_text(encoding="utf-8"))
    for count, (cell, printed, value) in enumerate(shown_by(book), 1):
        if value is not None:
            print(repr(value))
        cell["execution_count"], cell["outputs"] = count, outputs(count, printed, value)
    if args.record:
        text = json.dumps(book, indent=1, ensure_ascii=False)
        args.notebook.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
