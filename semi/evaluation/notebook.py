"""What results look like in a notebook: scores as tables, printed tables as HTML ones."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from . import report_scores
from .html_report import STYLE, own_file, template

EVALUATION = "notebook_scores.html.j2"
RULE = re.compile(r"-+(  -+)*")  # the line below the head of a printed table


def scores_html(title: str, key: str, metrics: dict[str, Any]) -> str:
    """Returns scores with intervals, classes and confusion matrix as HTML.

    Args:
        title: what was scored.
        key: metrics_test, metrics_dev or metrics_oof.
        metrics: as in a round's record.
    """
    part = report_scores.part({key: metrics}, key)
    return template(EVALUATION).render(title=title, part=part, style=own_file(STYLE))


def words_html(words: str) -> str:
    """Returns what a command prints as HTML: its aligned tables as tables, other lines as they are.

    A column is as wide as its dashes, so a cell may hold blanks.
    """
    lines, out = words.splitlines(), []
    at = 0
    while at < len(lines):
        if at + 1 < len(lines) and lines[at].strip() and RULE.fullmatch(lines[at + 1]):
            spans = [m.span() for m in re.finditer("-+", lines[at + 1])]
            end = at + 2
            while end < len(lines) and lines[end].strip():
                end += 1
            rows = [lines[at], *lines[at + 2 : end]]
            out.append(_table([[row[a:b].strip() for a, b in spans] for row in rows]))
            at = end
        else:
            out.append(f"<p>{escape(lines[at])}</p>" if lines[at].strip() else "")
            at += 1
    body = "\n".join(filter(None, out))
    return f'<style>{own_file(STYLE)}</style><div class="semi notebook">{body}</div>'


def _table(rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="box">{table}</div>'
