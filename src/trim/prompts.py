"""Prompts: chat templates rendered in the client, and text kept from turning into control tokens.

Continuing a partial answer through `/v1/completions` with a rendered template is the one way that all servers share.
Templates are a named family or a model's own files, rendered in jinja2's sandbox; no code of theirs is run. A special
token inside the text of a user or model would reach the model as that token, so that a question could open a turn of
its own or forge a step mark: such tokens are broken up first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from trim.errors import ConfigError
from trim.types import Message

STEP_MARK = "<extra_0>"
"""Token after each step at which Qwen2.5-Math-PRM gives its score."""

# Control tokens of the common model families: <|im_end|>, <|eot_id|>, <extra_0>, <s>, <pad>, [INST] ...
_CONTROL = re.compile(r"<\|[^|<>\s]{1,40}\|>|<extra_\d+>|</?s>|<(?:pad|bos|eos|unk)>|\[/?(?:INST|SYS)\]|<</?SYS>>")

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


def neutralise(text: str, also: Iterable[str] = ()) -> str:
    """The text with every control token broken up by a space after its first character.

    `<extra_0>` becomes `< extra_0>`. A space and not a zero-width character: normalisers of some tokenizers remove
    those, which would restore the token. A token of one character becomes U+FFFD.

    Args:
        text: written by a user or a model.
        also: further tokens to break up, such as a PRM's step mark or the special tokens of a tokenizer file.
    """
    tokens = sorted({token for token in also if token.strip()}, key=len, reverse=True)
    while True:  # breaking one token may complete another that has a space in it
        broken = _CONTROL.sub(_broken, text)
        for token in tokens:
            broken = broken.replace(token, f"{token[0]} {token[1:]}" if len(token) > 1 else "\ufffd")
        if broken == text:
            return text
        text = broken


def _broken(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template for a question, the conversation before it, and the beginning of its answer.

    Args:
        source: Jinja text; sees `messages`, `question`, `system`, `add_generation_prompt`, `tokens` and `options`.
        specials: tokens that are broken up wherever they occur in user or model text.
        system: a system prompt, if any.
        tokens: `bos_token`, `eos_token` and the like, as models' own templates use them.
        options: further variables of a template, such as (("enable_thinking", False),).
    """

    source: str
    specials: tuple[str, ...] = ()
    system: str | None = None
    tokens: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def conversation(self, question: str, messages: Iterable[Message] = ()) -> list[dict[str, str]]:
        """The chat as messages without control tokens.

        There is at most one system message, which begins with the configured one; then follow the turns. Adjacent
        messages of one role are merged into one turn.
        """
        system = [self.system] if self.system else []
        turns: list[dict[str, str]] = []
        for message in (*messages, Message("user", question)):
            text = self.clean(message.text)
            if message.role == "system":
                system.append(text)
            elif turns and turns[-1]["role"] == message.role:
                turns[-1]["content"] += "\n\n" + text
            else:
                turns.append({"role": message.role, "content": text})
        return [{"role": "system", "content": "\n\n".join(system)}, *turns] if system else turns

    def head(self, question: str, messages: Iterable[Message] = ()) -> str:
        """The text up to where the answer begins, without a beginning-of-text token: servers add it to a text prompt.

        Raises:
            ConfigError: the template cannot be rendered.
        """
        chat = self.conversation(question, messages)
        system = chat[0]["content"] if chat[0]["role"] == "system" else None
        tokens = {"bos_token": "", "eos_token": ""} | dict(self.tokens)
        values: dict[str, Any] = {"messages": chat, "question": chat[-1]["content"], "system": system} | tokens
        try:
            text = _compiled(self.source).render(values, add_generation_prompt=True, **dict(self.options))
        except Exception as error:  # a template is a user's program: whatever it raises means a wrong setting
            raise ConfigError(f"the chat template cannot be rendered: {error}") from None
        return str(text).removeprefix(tokens["bos_token"])

    def clean(self, text: str) -> str:
        """Text of a user or model without control tokens."""
        return neutralise(text, self.specials)

    def render(self, question: str, prefix: str = "", messages: Iterable[Message] = ()) -> str:
        """The text that a model is asked to continue: the question's turn, then `prefix`, the answer so far."""
        return self.head(question, messages) + self.clean(prefix)


@lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def raise_exception(message: str) -> None:
        raise ValueError(message)

    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    environment.filters["tojson"] = lambda value, **kwargs: json.dumps(value, ensure_ascii=False, **kwargs)
    return environment.from_string(source)


def load_template(name: str, system: str | None = None) -> ChatTemplate:
    """A template by family name, or from a model folder or a file in it.

    Raises:
        ConfigError: no such family or file, or the file has no template.
    """
    if name in FAMILIES:
        return ChatTemplate(FAMILIES[name], system=system)
    path = Path(name)
    folder = path if path.is_dir() else path.parent
    config = _read_object(folder / "tokenizer_config.json")
    jinja = folder / "chat_template.jinja"
    source = jinja.read_text("utf-8") if path.exists() and jinja.is_file() else config.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = next((entry.get("template") for entry in source if entry.get("name") == "default"), None)
    if not path.exists() or not isinstance(source, str):
        families = ", ".join(sorted(FAMILIES))
        raise ConfigError(
            f"template {name!r} is neither a template family ({families}) nor a model folder with a chat template"
        )
    tokens = {key: _content(config.get(key)) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
    named = tuple((key, text) for key, text in tokens.items() if text)
    specials = dict.fromkeys((*special_tokens(folder), *(text for _, text in named)))
    return ChatTemplate(source, tuple(specials), system, named)


def special_tokens(folder: Path) -> tuple[str, ...]:
    """The special tokens that a folder's tokenizer files declare."""
    added = [
        *_read_object(folder / "tokenizer_config.json").get("added_tokens_decoder", {}).values(),
        *_read_object(folder / "tokenizer.json").get("added_tokens", []),
    ]
    return tuple(dict.fromkeys(_content(token) for token in added if token.get("special")))


def _content(token: Any) -> str:
    """A token's text; files hold it as a string or as {"content": text, ...}."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}
