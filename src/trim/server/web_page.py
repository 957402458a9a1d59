"""The page at `/`: one file without a build step. Its content security policy allows only its own script and style.

The page at `/docs` lists what the gateway answers, from its OpenAPI document.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any


def _hashed(page: str, tag: str) -> str:
    """The hash of an inline element, as a content security policy names it."""
    match = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    assert match is not None
    return f"'sha256-{b64encode(sha256(match[1].encode()).digest()).decode()}'"


PAGE = (files("trim.server") / "page.html").read_text("utf-8")
POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src {_hashed(PAGE, 'script')}; "
    f"style-src {_hashed(PAGE, 'style')}; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


_REFERENCE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TRIM: documentation of this gateway</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
</style>
</head>
<body>
<h1>Documentation of this gateway</h1>
<p>@NAME@. Any OpenAI client works with this server as its base URL, with
<code>/v1</code> behind it. The model <code>trim</code> routes as configured, <code>trim-weak</code> and
<code>trim-strong</code> are each model alone, <code>trim-threshold-0.8</code> is a policy at a parameter,
<code>trim-threshold-20%</code> one that is held to a strong share. <code>GET /v1/models</code> lists them.</p>
<p>A request may have a <code>trim</code> object: @OPTIONS@.
So has each response: which model wrote which step, the strong share and the cost in dollars.</p>
<table><thead><tr><th>request</th><th>answer</th></tr></thead><tbody>
@ROUTES@
</tbody></table>
<p>All fields: <a href="/openapi.json">/openapi.json</a> (OpenAPI). Commands: <code>trim --help</code>.
<a href="/">Back</a></p>
</body>
</html>
"""


def reference_page(api: dict[str, Any], options: list[str]) -> tuple[str, str]:
    """The page at `/docs` and its content security policy.

    Args:
        api: the OpenAPI document.
        options: what the `trim` object of a request may hold.
    """
    routes = "\n".join(
        f"<tr><td><code>{escape(method.upper())} {escape(path)}</code></td><td>{escape(about['summary'])}</td></tr>"
        for path, methods in api["paths"].items()
        for method, about in methods.items()
        if "summary" in about
    )
    page = _REFERENCE.replace("@ROUTES@", routes).replace(
        "@OPTIONS@", ", ".join(f"<code>{escape(name)}</code>" for name in options)
    )
    page = page.replace("@NAME@", escape(f"{api['info']['title']} {api['info']['version']}"))
    return page, f"default-src 'none'; style-src {_hashed(page, 'style')}; img-src data:; frame-ancestors 'none'"
