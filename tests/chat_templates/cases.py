"""Chat templates of the common model families, and what they are rendered with.

The files in `families` are written for these tests: they have each family's layout, control tokens and Jinja features.
`expected.json` holds what transformers makes of them; `python -m tests.chat_templates.cases` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "families"
EXPECTED = Path(__file__).parent / "expected.json"
TOKENS = {"bos_token": "<BOS>", "eos_token": "<EOS>"}

_SYSTEM = {"role": "system", "content": "Be brief.\n"}
_ASK = {"role": "user", "content": "What is 1 < 2?  é\n"}
_ANSWER = {"role": "assistant", "content": " It is.\n\n"}
_THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is."}
_AGAIN = {"role": "user", "content": "And 2 + 2?"}
_TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"x": "<int>", "y": "é"}}}]
_DOCUMENTS = [{"doc_id": 1, "title": "Sums", "text": "1 + 1 = 2"}]
_PARTS = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in (_SYSTEM, _ASK)]

CASES: dict[str, dict[str, Any]] = {
    "question": {"messages": [_ASK]},
    "system": {"messages": [_SYSTEM, _ASK]},
    "chat": {"messages": [_SYSTEM, _ASK, _ANSWER, _AGAIN]},
    "thought": {"messages": [_ASK, _THOUGHT, _AGAIN]},
    "answered": {"messages": [_ASK, _ANSWER], "add_generation_prompt": False},
    "out of turn": {"messages": [_ASK, _AGAIN, _ANSWER]},
    "parts": {"messages": _PARTS},
    "tools": {"messages": [_ASK], "tools": _TOOLS},
    "documents": {"messages": [_ASK], "documents": _DOCUMENTS},
    "no thinking": {"messages": [_ASK], "enable_thinking": False, "reasoning_effort": "low"},
    "thinking": {"messages": [_ASK], "enable_thinking": True, "thinking": True, "controls": {"length": "long"}},
    "date": {"messages": [_ASK], "date_string": "26 Jul 2024"},
}
_DEFAULTS = {"tools": None, "documents": None, "add_generation_prompt": True}

Renderer = Callable[[str, Mapping[str, Any]], str]


def sources(folder: Path = FOLDER) -> Iterator[tuple[str, str]]:
    """Names and texts of the templates in a folder."""
    for path in sorted(folder.glob("*.jinja")):
        yield path.stem, path.read_text("utf-8")


def outcome(render: Renderer, source: str, case: Mapping[str, Any]) -> str | None:
    """What a renderer makes of a template, with today's date left out; None: it refuses."""
    try:
        text = render(source, {**_DEFAULTS, **TOKENS, **case})
    except Exception:  # templates are programs
        return None
    for form in ("%d %b %Y", "%d %B %Y", "%B %d, %Y", "%Y-%m-%d"):
        text = text.replace(datetime.now().strftime(form), form)
    return text


def transformers_renderer() -> Renderer:
    """transformers' own way.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(source: str, values: Mapping[str, Any]) -> str:
        others = {name: value for name, value in values.items() if name != "messages"}
        return str(render_jinja_template([values["messages"]], chat_template=source, **others)[0][0])

    return render


def main() -> None:
    """Write what transformers makes of every template and case."""
    render = transformers_renderer()
    table = {
        name: {title: outcome(render, source, case) for title, case in CASES.items()} for name, source in sources()
    }
    EXPECTED.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
