"""What a language model is asked about a row: the text, the turns before it, how to answer.

The prompt is a Jinja template, run in Jinja's sandbox: it may read the row and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.wording import nearest, shown
from ..errors import ConfigError, reading
from .answers import CHOICES

if TYPE_CHECKING:
    from ..data.manifest import Manifest

VARIABLES = {
    "text": "what was said",
    "context": "the turns before it, each with speaker and text",
    "speaker": "who said it",
    "language": "its language",
    "labels": "the labels by the names that --name gives them",
    "how_to_answer": "the choices and how to answer; at the end where a prompt does not place it",
    "row": "every column of the table but its labels, such as row['scene']",
}
ANSWERS = ("label", "votes", "valence", "arousal", "split")  # columns that no prompt may read
PROMPT = """\
{% if context %}Turns of a conversation:
{% for turn in context %}{{ turn.speaker or "someone" }}: {{ turn.text }}
{% endfor %}The next turn, which is the one to judge:
{% else %}An utterance:
{% endif %}{{ speaker or "someone" }}: {{ text }}

Which emotion does the speaker express in it?"""
HOW_TO_ANSWER = {
    "logprobs": "Choose one:\n{choices}\nAnswer with its letter alone.",
    "json": "The choices: {labels}.\nAnswer with nothing but a JSON object that gives each of them "
    "its probability, such as {example}; they sum to 1.",
    "samples": "Choose one of: {labels}.\nAnswer with that word alone.",
}


class Prompt:
    """The question about a row, as text."""

    def __init__(self, source: str, where: str, spoken: Sequence[str]) -> None:
        """Reads a template.

        Args:
            source: the template.
            where: its file, for messages.
            spoken: (C,) what the labels are called.

        Raises:
            ConfigError: it is no template, never reads the text, or reads what is not there.
        """
        from jinja2 import StrictUndefined, TemplateSyntaxError, meta
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self.source, self.where, self.spoken = source, where, list(spoken)
        try:
            read = meta.find_undeclared_variables(jinja.parse(source))
            self.template = jinja.from_string(source)
        except TemplateSyntaxError as error:
            raise ConfigError(
                f"{where}: no Jinja template (line {error.lineno}: {error.message})"
            ) from None
        known = ", ".join(VARIABLES)
        if odd := sorted(read - VARIABLES.keys()):
            raise ConfigError(
                f"{where} reads '{shown(odd[0], 40)}'{nearest(odd[0], VARIABLES)}; a prompt may "
                f"read {known}"
            )
        if "text" not in read and "row" not in read:
            raise ConfigError(
                f"{where} never reads the text; write {{{{ text }}}} where it belongs (a prompt "
                f"may read {known})"
            )
        self.places_answer = "how_to_answer" in read

    def of(self, row: Turn, method: str) -> str:
        """Returns what is asked about a row, to be answered by a method of `answers`."""
        from jinja2 import TemplateError

        how = how_to_answer(method, self.spoken)
        values = {
            "text": row.text, "context": row.context, "speaker": row.speaker,
            "language": row.language, "labels": self.spoken, "how_to_answer": how, "row": row.cells,
        }  # fmt: skip
        try:
            text = self.template.render(values).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(
                f"{self.where} cannot be filled in for row '{shown(row.id, 60)}': {error}"
            ) from None
        return text if self.places_answer else f"{text}\n\n{how}"


def prompt_of(file: str, spoken: Sequence[str]) -> Prompt:
    """Returns the prompt of a file, the one above where no file is named."""
    if not file:
        return Prompt(PROMPT, "the prompt", spoken)
    try:
        with reading(file, "a text in UTF-8", "write the prompt anew", ConfigError):
            source = Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"--prompt {shown(file, 200)}: no such file") from None
    return Prompt(source, shown(file, 200), spoken)


def how_to_answer(method: str, spoken: Sequence[str]) -> str:
    """Returns how to answer by a method, with the (C,) labels to choose from."""
    import json

    return HOW_TO_ANSWER[method].format(
        choices="\n".join(f"{a}. {b}" for a, b in zip(CHOICES, spoken, strict=False)),
        labels=", ".join(spoken),
        example=json.dumps({name: round(1 / len(spoken), 2) for name in spoken},
                           ensure_ascii=False),
    )  # fmt: skip


@dataclass
class Turn:
    """A row as a prompt reads it."""

    id: str
    text: str
    speaker: str
    language: str
    context: list[dict[str, str]]  # the turns before it, the oldest first
    cells: dict[str, Any]  # every column


class Turns:
    """The rows of a table with the turns before each of them."""

    def __init__(self, manifest: Manifest, context: int, order: str) -> None:
        """Puts the rows of each dialogue in order.

        Args:
            manifest: the table.
            context: turns before a row that are shown with it.
            order: column of numbers that orders a dialogue; '' = its times, else the table's rows.

        Raises:
            ConfigError: no column of that name, or turns are asked for without dialogues.
        """
        table: Any = manifest.table
        self.context = context
        self.columns: dict[str, list] = {name: table[name].tolist() for name in table.columns}
        self.before: np.ndarray | None = None
        self.ordered = ""
        if context:
            self.before, self.ordered = _before(manifest, order)

    def __getitem__(self, at: int) -> Turn:
        """Returns a row."""
        cells = {n: _cell(column[at]) for n, column in self.columns.items() if n not in ANSWERS}
        context: list[dict[str, str]] = []
        earlier = -1 if self.before is None else int(self.before[at])
        while earlier >= 0 and len(context) < self.context:
            text = _word(self.columns["text"][earlier])
            if text:
                speaker = _word(self.columns["speaker"][earlier])
                context.append({"speaker": speaker, "text": text})
            assert self.before is not None
            earlier = int(self.before[earlier])
        name, text, speaker, language = (
            _word(self.columns[name][at]) for name in ("id", "text", "speaker", "language")
        )
        return Turn(name, text, speaker, language, context[::-1], cells)


def _before(manifest: Manifest, order: str) -> tuple[np.ndarray, str]:
    """Returns (N,) the row before each in its dialogue, -1 of the first; and what orders them."""
    table: Any = manifest.table
    if not table["dialogue"].notna().any():
        raise ConfigError(
            "--context shows the turns before a row, but the table names no dialogue; say which "
            "column does with 'data.columns={dialogue: NAME}', or write --context 0"
        )
    rank, ordered = np.array(manifest.rows or range(len(table)), dtype=float), "the table's rows"
    if order:
        rank, ordered = _numbers_of(table, order), order
    elif table["start"].notna().all():
        sounds = table.groupby("dialogue")["audio"].nunique(dropna=False)
        if (sounds <= 1).all():  # times within one recording; else each file has its own clock
            rank, ordered = table["start"].to_numpy(dtype=float), "start"
    before = np.full(len(table), -1)
    places = np.lexsort((np.arange(len(table)), rank))
    last: dict[str, int] = {}
    for at in places.tolist():
        name = table["dialogue"].iat[at]
        if isinstance(name, str):
            before[at] = last.get(name, -1)
            last[name] = at
    return before, ordered


def _numbers_of(table: Any, order: str) -> np.ndarray:
    """Returns the (N,) numbers of the column that orders a dialogue."""
    import pandas as pd

    if order not in table:
        names = [str(name) for name in table.columns]
        raise ConfigError(
            f"--order {shown(order, 60)}: no column of the table{nearest(order, names)}; it has "
            f"{', '.join(shown(name, 40) for name in names)}"
        )
    numbers: Any = pd.to_numeric(table[order], errors="coerce")
    odd = numbers.isna() & table["dialogue"].notna()
    if odd.any():
        row = table.loc[odd].iloc[0]
        raise ConfigError(
            f"--order {shown(order, 60)} must hold a number in every row of a dialogue; row "
            f"'{shown(row['id'], 60)}' has '{shown(row[order], 40)}'"
        )
    return numbers.to_numpy(dtype=float)


def _word(cell: object) -> str:
    return cell if isinstance(cell, str) else ""


def _cell(cell: Any) -> Any:
    """Returns a cell as a prompt reads it: text or a number, '' where there is none."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return cell.item() if isinstance(cell, np.generic) else cell
