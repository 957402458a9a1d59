"""A model whose server answers what a test has written down, chunk by chunk, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from trim.backends.capabilities import Capabilities
from trim.backends.openai import OpenAIGenerator
from trim.backends.response_stream import Answer
from trim.errors import BackendUnavailable
from trim.prompts import load_template
from trim.types import Role

Json = dict[str, Any]
BREAK = "break"
"""Stands for a connection that breaks."""


class ScriptedGenerator(OpenAIGenerator):
    """Gives one of the answers to each request, then the same plain answer to all that follow."""

    def __init__(self, role: Role, able: Capabilities, last: Sequence[Json]) -> None:
        super().__init__("http://127.0.0.1:1/v1", "m", role, load_template("chatml"), backend=able)
        self.answers: list[Sequence[object]] = []
        self._final = last

    async def send(self, body: Json) -> Answer:
        """The next answer."""
        self.usage.calls += 1
        return Answer(self.server, _events(self.answers.pop(0) if self.answers else self._final))


async def _events(answer: Sequence[Any]) -> AsyncIterator[dict[str, Any]]:
    for event in answer:
        if event == BREAK:
            raise BackendUnavailable("scripted", "the connection broke")
        yield event


def chunk(text: str | None = None, finish: str | None = None, usage: object = None) -> Json:
    """A chunk of a completion; without text and end it has no choice."""
    choices = [] if text is None and finish is None else [{"index": 0, "text": text or "", "finish_reason": finish}]
    return {"id": "1", "choices": choices, "usage": usage}
