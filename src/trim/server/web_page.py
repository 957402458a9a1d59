"""The page at `/`: one file without a build step. Its content security policy allows only its own script and style."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files


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
