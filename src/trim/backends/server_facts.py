"""What a server tells of the model that it serves: chat template, context, and how many tokens a text has.

llama-server shows its template (`/props`), vLLM renders conversations (`/tokenize`, then `/detokenize`), Ollama and
LM Studio say how long the context is. What a server sends is input like any other: a template is rendered in the
sandbox of `trim.jinja_sandbox`, and what is no count is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from trim.backends.capabilities import Capabilities
from trim.backends.client import Server
from trim.backends.token_counts import as_count
from trim.errors import BackendError, ConfigError
from trim.off_loop import off_loop
from trim.prompts import ChatTemplate, served_template
from trim.types import Message, Question

_LONGEST: Final = 200_000  # characters of a template
_HEADS: Final = 256  # rendered conversations that are remembered
_MISSES: Final = 3
_TRIAL = Question("What is 1 + 1?")


@dataclass(frozen=True)
class RenderedTemplate(ChatTemplate):
    """A chat template that is on its server alone: conversations are rendered there before they are needed here."""

    heads: dict[str, str] = field(default_factory=dict, compare=False)

    def head(self, question: str, messages: Iterable[Message] = ()) -> str:
        """As the server has rendered it; where it has not, as the family's template does."""
        found = self.heads.get(_key(self.conversation(question, messages)))
        return super().head(question, messages) if found is None else found


class ServerFacts:
    """What one server tells of its model. Asked when it is first needed; what fails is asked again.

    `template` is its chat template, as far as it is known; `context` its length in tokens.

    Args:
        server: to ask.
        able: its kind.
        fallback: the template where the server tells none: it gives the system prompt and options in any case.
    """

    def __init__(self, server: Server, able: Capabilities, fallback: ChatTemplate | None) -> None:
        self.template: ChatTemplate | None = None
        self.context: int | None = None
        self._missed = 0  # counts in a row that did not come
        self._server = server
        self._able = able
        self._fallback = fallback
        self._asked = False

    async def learn(self) -> None:
        """Ask, unless that was done."""
        if self._asked:
            return
        try:
            _, self.context = await self._server.models()
            self._asked = True
        except BackendError as error:
            if error.retryable:
                return  # not there; the request itself will say so
            self._asked = True
        if self._able.tells == "props":
            await self._read_props()
        elif self._able.tells == "render":
            await self._try_rendering()
        elif self._able.tells == "ollama":
            self.context = await self._ollama_context() or self.context
        elif self._able.tells == "lm-studio":
            told = await self._server.ask(f"/api/v0/models/{self._server.model}")
            self.context = as_count(told.get("loaded_context_length")) or self.context

    async def render(self, question: Question) -> None:
        """Have the server render this conversation, where only it can."""
        template = self.template
        if not isinstance(template, RenderedTemplate):
            return
        chat = await off_loop(question.length, template.conversation, question.text, question.messages)
        key = await off_loop(question.length, _key, chat)
        if key in template.heads:
            return
        text = await self._rendered(chat, template)
        if text is None and chat[0]["role"] == "system" and len(chat) > 1:  # templates may refuse such messages
            first = {"role": "user", "content": chat[0]["content"] + "\n\n" + chat[1]["content"]}
            text = await self._rendered([first, *chat[2:]], template)
        if text is None:
            return
        while len(template.heads) >= _HEADS:
            del template.heads[next(iter(template.heads))]
        template.heads[key] = text.removeprefix(template.first or "")

    async def count(self, text: str) -> int | None:
        """Tokens of a text, as the server counts them; None: it does not."""
        if not self._able.tokenize or self._missed == _MISSES or not text:
            return None
        ids = await self._ids({self._able.tokenize: text, "add_special": False, "add_special_tokens": False})
        self._missed = self._missed + 1 if ids is None else 0
        return None if ids is None else len(ids)

    async def _read_props(self) -> None:
        told = await self._server.ask("/props")
        settings = told.get("default_generation_settings")
        if isinstance(settings, dict):
            self.context = as_count(settings.get("n_ctx")) or self.context
        source = told.get("chat_template")
        if not isinstance(source, str) or not 0 < len(source) <= _LONGEST:
            return
        named = {name: told[name] for name in ("bos_token", "eos_token") if isinstance(told.get(name), str)}
        before = await self._put_before()
        first = None if before is None else named.get("bos_token", "") if before else ""
        self._take(served_template(source, named, first, self._fallback, "the server's, from /props"))

    async def _try_rendering(self) -> None:
        base = self._fallback or ChatTemplate("")
        before = await self._put_before()
        if before is None:
            return
        first = await self._text(before) if before else ""
        values = {name: value for name, value in vars(base).items() if name != "heads"}
        found = RenderedTemplate(**values | {"first": first or "", "origin": "the server's, rendered by /tokenize"})
        if await self._rendered(found.conversation(_TRIAL.text), found) is not None:
            self._take(found)

    def _take(self, template: ChatTemplate) -> None:
        """Use the template, if it renders."""
        try:
            if not isinstance(template, RenderedTemplate):
                template.head(_TRIAL.text)
        except ConfigError:
            return
        self.template = template

    async def _rendered(self, chat: list[dict[str, str]], template: ChatTemplate) -> str | None:
        body: dict[str, Any] = {"messages": chat, "add_generation_prompt": True}
        if template.options:
            body["chat_template_kwargs"] = dict(template.options)
        ids = await self._ids(body)
        return None if ids is None else await self._text(ids)

    async def _put_before(self) -> list[int] | None:
        """The tokens that the server puts before every text; None: it does not say."""
        found: list[list[int]] = []
        for add in (False, True):
            ids = await self._ids({self._able.tokenize: "x", "add_special": add, "add_special_tokens": add})
            if ids is None:
                return None
            found.append(ids)
        bare, whole = found
        return whole[: max(0, len(whole) - len(bare))]

    async def _ids(self, body: dict[str, Any]) -> list[int] | None:
        told = (await self._server.ask("/tokenize", {"model": self._server.model, **body})).get("tokens")
        return told if isinstance(told, list) else None

    async def _text(self, ids: list[int]) -> str | None:
        told = (await self._server.ask("/detokenize", {"model": self._server.model, "tokens": ids})).get("prompt")
        return told if isinstance(told, str) else None

    async def _ollama_context(self) -> int | None:
        """Of the model as it is loaded; before that, as its file says."""
        name = self._server.model
        models = (await self._server.ask("/api/ps")).get("models")
        for entry in models if isinstance(models, list) else ():
            if isinstance(entry, dict) and name in (entry.get("name"), entry.get("model")):
                return as_count(entry.get("context_length"))
        told = (await self._server.ask("/api/show", {"model": name})).get("parameters")
        for line in told.splitlines() if isinstance(told, str) else ():
            words = line.split()
            if len(words) == 2 and words[0] == "num_ctx":
                return as_count(words[1])
        return None


def _key(chat: list[dict[str, str]]) -> str:
    return repr(chat)
