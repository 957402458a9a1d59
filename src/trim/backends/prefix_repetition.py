"""Chat servers that begin their reply with the partial answer that they continue, and what is dropped of it.

Text is never dropped on a guess: a server is known to repeat because it is declared to, or because it was seen to; and
then only the whole partial answer, exactly as it was sent, is dropped at the head of a reply.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from trim.backends.answer_counts import AnswerTotals
from trim.backends.response_stream import Answer
from trim.types import Question, Usage

_QUESTION = Question("Repeat nothing. Count from one to ten.")
_BEGUN = "Ticket 7Q-4093-kx was opened at 16:52 by M. Abernethy-Voss; the counting begins here:\n\none"
_TOKENS = 2  # of the trial: a model cannot write the partial answer itself with these


class Asked(Protocol):
    """What a trial needs of a generator behind a server, such as `OpenAIGenerator`."""

    def body(self, question: Question, prefix: str, *, max_tokens: int, stop: bool, seed: int) -> dict[str, Any]: ...

    async def send(self, body: dict[str, Any]) -> Answer: ...

    @property
    def usage(self) -> Usage: ...


class PrefixRepetition:
    """Whether a connection's server repeats the partial answer; found out once, before that matters.

    Args:
        declared: whether this kind of server does; None: some do.
    """

    def __init__(self, declared: bool | None) -> None:
        self._found = declared
        self._trial: asyncio.Task[bool] | None = None

    async def known(self, model: Asked) -> bool:
        """Whether it does, tried on the first call if that is not known.

        Raises:
            BackendError: the trial failed.
        """
        if self._found is not None:
            return self._found
        if self._trial is None or self._trial.get_loop() is not asyncio.get_running_loop() or _failed(self._trial):
            self._trial = asyncio.ensure_future(self._try(model))
        return await asyncio.shield(self._trial)

    async def _try(self, model: Asked) -> bool:
        answer = await model.send(model.body(_QUESTION, _BEGUN, max_tokens=_TOKENS, stop=False, seed=0))
        reply, used = "", AnswerTotals(estimated=True)
        try:
            while (chunk := await answer.next()) is not None:
                reply += chunk.text
                said = chunk.counts
                if said.completion is not None:
                    used = AnswerTotals(said.prompt or 0, min(said.cached or 0, said.prompt or 0), said.completion)
        finally:
            await answer.close()
            used.add_to(model.usage)
        self._found = reply.startswith(_BEGUN)
        return self._found


def _failed(trial: asyncio.Task[bool]) -> bool:
    return trial.done() and (trial.cancelled() or trial.exception() is not None)


class Head:
    """The head of a chat reply that comes in pieces: drops what the partial answer has already.

    That is the partial answer itself, of a server that repeats it and only if it is there as a whole; then the white
    space at its end, which chat templates take away, so that the model writes it again: as much of it as there is.

    Args:
        prefix: the partial answer as it was sent.
        repeats: whether the server is known to repeat it.
    """

    def __init__(self, prefix: str, *, repeats: bool) -> None:
        text = prefix.rstrip()
        self._repeated = text if repeats else ""
        self._space = prefix[len(text) :]
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the next piece is the model's own, with what was held back before it."""
        if self._repeated:
            text = self._held + text
            if self._repeated.startswith(text) and text != self._repeated:
                self._held = text
                return ""
            repeated = text.startswith(self._repeated)
            text = text[len(self._repeated) :] if repeated else text
            self._space = self._space if repeated else ""
            self._repeated = self._held = ""
        same = next((at for at, (a, b) in enumerate(zip(self._space, text, strict=False)) if a != b), None)
        same = min(len(self._space), len(text)) if same is None else same
        self._space = self._space[same:] if same == len(text) else ""
        return text[same:]

    def rest(self) -> str:
        """What was held back, once the reply has ended."""
        rest, self._held = self._held, ""
        return rest
