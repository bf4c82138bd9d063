"""The service's own page of its addresses: FastAPI's needs scripts from the network, this none."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI  # pyright: ignore[reportMissingImports]
from starlette.responses import HTMLResponse, Response

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ info.title }}</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid; border-radius: .3rem; }
summary { cursor: pointer; } td { vertical-align: top; padding-right: 1rem; }
</style></head><body>
<h1>{{ info.title }}</h1>
<p>{{ info.description }} semi {{ info.version }}; machine-readable: <a href="openapi.json">
openapi.json</a>.</p>
<pre>curl {{ key }}-F file=@a.wav -F "text=what was said" {{ base }}predict
curl {{ key }}-F file=@a.wav -F file=@b.wav {{ base }}predict/batch</pre>
{% for path, methods in paths.items() %}{% for method, about in methods.items() %}
<h2><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ about.description or about.summary }}</p>
{% if about.requestBody %}<details><summary>Body</summary>
<pre>{{ about.requestBody.content | shown }}</pre></details>{% endif %}
<table>{% for code, answer in about.responses.items() %}
<tr><td>{{ code }}</td><td>{{ answer.description }}</td></tr>{% endfor %}</table>
{% endfor %}{% endfor %}
<h2>Shapes</h2><pre>{{ components | shown }}</pre>
</body></html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


def docs_page(app: FastAPI, *, secured: bool) -> Callable[[], Awaitable[Response]]:
    """Returns the endpoint of the page.

    Args:
        app: what it describes.
        secured: requests bring a token.
    """

    async def page() -> Response:
        from jinja2 import Environment

        environment = Environment(autoescape=True, trim_blocks=True)
        environment.filters["shown"] = _indented
        schema = app.openapi()
        text = environment.from_string(PAGE).render(
            info=schema["info"], paths=schema["paths"],
            components=schema.get("components", {}).get("schemas", {}),
            key='-H "Authorization: Bearer TOKEN" ' if secured else "",
            base="http://ADDRESS/",
        )  # fmt: skip
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    return page


def _indented(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
