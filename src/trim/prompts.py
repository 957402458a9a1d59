"""Prompts: chat templates rendered in the client, and text kept from turning into control tokens.

Continuing a partial answer through `/v1/completions` with a rendered template is the one way that all servers share.
Templates are a named family or a model's own files, rendered as transformers does, in a sandbox (`jinja_sandbox`).
The beginning of the answer follows the rendered text as it is: no template sees, trims or replaces it.

What users write never becomes a control token (`control_tokens`). What a model wrote keeps the marks that servers show
as text, such as `<think>`: they were its own tokens. Its special tokens, which no server shows, are broken there too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trim.control_tokens import in_template, neutralise
from trim.errors import ConfigError
from trim.model_files import ModelFiles, read_model_files, read_text
from trim.types import Message
from trim.visible_text import closing, reasons, unopened

STEP_MARK = "<extra_0>"
"""Token after each step at which Qwen2.5-Math-PRM gives its score."""

_CHATML = (  # Qwen and many others
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>{{ '\n' }}{% endfor %}"
    "<|im_start|>assistant{{ '\n' }}"
)
# Line ends at the end of a template are written as expressions: jinja2 drops a plain one.
FAMILIES = {
    "chatml": _CHATML,
    "qwen": _CHATML,
    "llama3": (
        "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
        "{{ message.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>{{ '\n\n' }}"
    ),
    "trim": (  # the shipped models; they know no system prompt
        "{% for message in messages %}{% if message.role == 'user' %}<|user|>{{ message.content }}"
        "{% elif message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>{% endif %}{% endfor %}"
        "<|assistant|>"
    ),
    "plain": "{% for message in messages %}{{ message.content }}{{ '\n\n' }}{% endfor %}",
}
_TRIAL = "What is 1 + 1?"
_OWN_VARIABLES = {"messages", "add_generation_prompt"}


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template for a question, the conversation before it, and the beginning of its answer.

    Args:
        source: Jinja text; sees `messages`, `tools` and `documents` (None), `add_generation_prompt` (true), `tokens`
            and `options`.
        specials: tokens that are broken wherever they occur in user or model text.
        system: a system prompt, if any.
        tokens: `bos_token`, `eos_token` and the like, as models' own templates use them.
        options: further variables of a template, such as (("enable_thinking", False),).
        added: tokens that are broken in user text only: those that servers return as text, such as `<think>`.
        complete: no tokens but these are control tokens for the model. If not, those of the common model families are
            broken in its own text too.
        first: what the server's tokenizer puts before every text, and is left out here; None: `bos_token`.
        origin: where it comes from, in words.
    """

    source: str
    specials: tuple[str, ...] = ()
    system: str | None = None
    tokens: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    added: tuple[str, ...] = ()
    complete: bool = False
    first: str | None = None
    origin: str = ""

    def conversation(self, question: str, messages: Iterable[Message] = ()) -> list[dict[str, str]]:
        """The chat as messages without control tokens.

        There is at most one system message, which begins with the configured one; then follow the turns. Adjacent
        messages of one role are merged into one turn.
        """
        system = [self.system] if self.system else []
        turns: list[tuple[str, list[str]]] = []
        for message in (*messages, Message("user", question)):
            if message.role == "system":
                system.append(message.text)
            elif turns and turns[-1][0] == message.role:
                turns[-1][1].append(message.text)
            else:
                turns.append((message.role, [message.text]))
        said = [("system", system), *turns] if system else turns
        return [{"role": role, "content": self.clean("\n\n".join(texts))} for role, texts in said]

    def head(self, question: str, messages: Iterable[Message] = ()) -> str:
        """The text up to where the answer begins, without what the server's tokenizer puts before every text.

        A system message goes to the head of the user's first one where the template refuses such messages.

        Raises:
            ConfigError: the template cannot be rendered.
        """
        chat = self.conversation(question, messages)
        try:
            text = _render(self, chat)
        except ConfigError:
            if chat[0]["role"] != "system" or len(chat) == 1 or chat[1]["role"] != "user":
                raise
            first = {"role": "user", "content": chat[0]["content"] + "\n\n" + chat[1]["content"]}
            text = _render(self, [first, *chat[2:]])
        return text.removeprefix(dict(self.tokens).get("bos_token", "") if self.first is None else self.first)

    def clean(self, text: str) -> str:
        """Text of a user, or of another model, without control tokens."""
        return neutralise(text, (*self.specials, *self.added))

    def clean_answer(self, text: str) -> str:
        """Text that the model itself wrote, without tokens that servers don't return as text."""
        return neutralise(text, self.specials, common=not self.complete, content=False)

    def render(self, question: str, prefix: str = "", messages: Iterable[Message] = ()) -> str:
        """The text that a model is asked to continue: the question's turn, then `prefix`, the answer so far.

        Where the template itself opens reasoning, an answer that begins with reasoning goes on there; any other
        answer was written without, and the template's reasoning is closed before it.
        """
        head = self.head(question, messages)
        if prefix and reasons(head):
            begun = unopened(prefix)
            head, prefix = (head + closing(head), prefix) if begun is None else (head, begun)
        return head + self.clean_answer(prefix)


def _with_parts(chat: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in chat]


def _values(chat: list[dict[str, Any]], tokens: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    values: dict[str, Any] = {"messages": chat, "tools": None, "documents": None, "add_generation_prompt": True}
    return values | {"bos_token": "", "eos_token": ""} | dict(tokens)


def _render(template: ChatTemplate, chat: list[dict[str, str]]) -> str:
    from trim.jinja_sandbox import render

    try:
        messages = _with_parts(chat) if _takes_parts(template.source, template.tokens) else chat
        return render(template.source, _values(messages, template.tokens) | dict(template.options))
    except Exception as error:  # a template is a program: whatever it raises means a wrong setting
        reason = " ".join(f"{error}".split())[:300] or type(error).__name__
        raise ConfigError(f"the chat template cannot be rendered: {reason}") from None


@lru_cache(maxsize=32)
def _takes_parts(source: str, tokens: tuple[tuple[str, str], ...]) -> bool:
    """Whether a template wants messages as lists of parts: given as texts they would be lost.

    Raises:
        TemplateLimit: it goes over its limits.
    """
    from trim.jinja_sandbox import TemplateLimit, render

    def shows(messages: list[dict[str, Any]]) -> bool:
        try:
            return _TRIAL in render(source, _values(messages, tokens))
        except TemplateLimit:
            raise
        except Exception:  # see `_render`
            return False

    chat = [{"role": "user", "content": _TRIAL}]
    return not shows(chat) and shows(_with_parts(chat))


def load_template(name: str, system: str | None = None, options: str = "") -> ChatTemplate:
    """A template by family name, or from a model folder, a file in it, or a GGUF file.

    A `.jinja` file is a template itself; the folder that it lies in gives the tokens.

    Args:
        name: of the family, or a path.
        system: a system prompt, if any.
        options: further variables of the template, as a JSON object.

    Raises:
        ConfigError: no such family or file, the file has no template, or the options are not valid.
    """
    name = name or "chatml"
    if name in FAMILIES:
        return ChatTemplate(FAMILIES[name], system=system, options=_options(options), origin=f"{name}, a family")
    path = Path(name)
    if not path.exists():
        raise _no_template(name)
    files = _read(path)
    if path.suffix == ".jinja":
        source = read_text(path)
    elif "default" in files.templates or len(files.templates) == 1:
        source = files.templates.get("default") or next(iter(files.templates.values()))
    elif files.templates:
        names = ", ".join(sorted(files.templates))
        raise ConfigError(f"template {name!r}: none of its chat templates ({names}) is called default")
    else:
        raise _no_template(name)
    return ChatTemplate(
        source,
        tuple(dict.fromkeys((*files.special, *(token for _, token in files.named)))),
        system,
        files.named,
        _options(options),
        added=tuple(dict.fromkeys((*files.added, *_own_marks(source)))),
        complete=files.complete,
        first=files.first,
        origin=name,
    )


def family_of(model: str) -> str:
    """The template family that a model's name suggests; most models know `chatml`."""
    name = model.lower()
    return (
        "llama3" if re.search(r"llama-?_?3", name) and "chatml" not in name else "qwen" if "qwen" in name else "chatml"
    )


def served_template(
    source: str, named: Mapping[str, str], first: str | None, base: ChatTemplate | None, origin: str
) -> ChatTemplate:
    """A chat template that a server has told.

    Args:
        source: Jinja text.
        named: `bos_token` and the like, by name.
        first: see `ChatTemplate`.
        base: has the system prompt and the options.
        origin: where it comes from, in words.
    """
    base = base or ChatTemplate("")
    specials = tuple(token for token in named.values() if token.strip())
    tokens = tuple(named.items())
    return ChatTemplate(
        source, specials, base.system, tokens, base.options, added=_own_marks(source), first=first, origin=origin
    )


def _read(path: Path) -> ModelFiles:
    if path.suffix == ".gguf":
        from trim.gguf_head import read_gguf_files

        return read_gguf_files(path)
    return read_model_files(path if path.is_dir() else path.parent)


def _options(text: str) -> tuple[tuple[str, Any], ...]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(found).isdisjoint(_OWN_VARIABLES):
        own = ", ".join(sorted(_OWN_VARIABLES))
        raise ConfigError(f"template options {text!r} must be a JSON object, without {own}")
    return tuple(found.items())


def _no_template(name: str) -> ConfigError:
    families = ", ".join(sorted(FAMILIES))
    if name.endswith(".gguf") and Path(name).exists():
        return ConfigError(f"{name} has no chat template: set template to a family ({families}) or a .jinja file")
    return ConfigError(
        f"template {name!r} is neither a template family ({families}) nor a model folder with a chat template"
    )


def _own_marks(source: str) -> tuple[str, ...]:
    """What looks like a control token in a template's text; none if the template is not valid, as `head` will say."""
    from trim.jinja_sandbox import literals

    try:
        return in_template(literals(source))
    except Exception:  # see `_render`
        return ()


def special_tokens(folder: Path) -> tuple[str, ...]:
    """The special tokens that a folder's tokenizer files declare."""
    return read_model_files(folder).special
