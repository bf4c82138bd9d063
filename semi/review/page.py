"""The review page as one HTML text: template, style and scripts of this package, inlined."""

from __future__ import annotations

import json
import secrets
from importlib.resources import files
from typing import Any

from .rows import ReviewTable

SCRIPTS = ("helpers", "server_source", "static_source", "spectrogram", "player", "list", "detail",
           "filters", "keys", "main")  # fmt: skip
SPEAKERS_OFFERED = 500  # as suggestions; any other can be typed


def render_page(
    table: ReviewTable, reviewer: str = "", rows: list[dict[str, Any]] | None = None, made: str = ""
) -> tuple[str, str]:
    """Returns the page and its content security policy.

    Args:
        table: the run's rows.
        reviewer: name to begin with; '' = the page asks.
        rows: of a page that needs no server, everything it shows; None = it asks the server.
        made: what tells such a page from others in one browser.
    """
    from jinja2 import Environment, PackageLoader

    nonce, fixed = secrets.token_urlsafe(18), rows is not None
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; "
        + ("media-src blob:" if fixed else "media-src 'self'; connect-src 'self'")
    )
    about = _about(table, reviewer) | {"fixed": fixed, "made": made}
    folder = files("semi.review") / "browser"
    read = {name: (folder / name).read_text(encoding="utf-8")
            for name in ("page.css", *(f"{s}.js" for s in SCRIPTS))}  # fmt: skip
    environment = Environment(loader=PackageLoader("semi.review", "browser"), autoescape=True)
    text = environment.get_template("page.html.j2").render(
        about=about, nonce=nonce, policy=policy, policy_in_page=fixed,
        style=read["page.css"],
        script="\n".join(read[f"{s}.js"] for s in SCRIPTS),
        about_json=json_in_html(about),
        rows_json=json_in_html(rows) if fixed else "",
    )  # fmt: skip
    return text, policy if fixed else f"{policy}; frame-ancestors 'none'"


def _about(table: ReviewTable, reviewer: str) -> dict[str, Any]:
    rounds = set(table.columns["first_round"].tolist())
    speakers = sorted(s for s in set(table.columns["speaker"]) if isinstance(s, str))
    return {
        "name": table.name,
        "classes": table.classes,
        "several": table.several,
        "rounds": sorted(int(r) for r in rounds if r >= 1),
        "speakers": speakers[:SPEAKERS_OFFERED],
        "queues": table.queues,
        "reviewer": reviewer,
    }


def json_in_html(value: Any) -> str:
    """Returns JSON that ends no script element, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
