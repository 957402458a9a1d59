"""Any chat model as a judge: it is asked about each new step and answers with a word.

Yes or no ("self-verification" where the weak model itself is asked), or a grade from 0 to 9 (SpecReason, arXiv
2504.07891). Where the server tells the probabilities of the answer's first token, the score is the expected value of
the answer, else the value of the answer that was given. Or a typed decision: JSON by a schema, with the answer and its
probability, for servers with structured output and no log-probabilities.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp
from typing import Any

from trim.backends.client import ServerBackend
from trim.errors import BackendError, BadResponse
from trim.protocols import Probe
from trim.scoring.registry import JudgeSettings
from trim.steps import StepFormat
from trim.types import Question, Scores

_REMEMBERED = 20_000  # scores of steps that are kept: earlier steps are not asked about again


@dataclass(frozen=True)
class Form:
    """What is asked about the last step, and the value in [0, 1] of each answer. `name` stands in `identity`."""

    name: str
    instruction: str
    values: Mapping[str, float]
    schema: Mapping[str, Any] | None = None  # of a JSON answer with a typed `answer` and the `probability` of that


YES_NO = Form(
    "yes-no",
    "Is the last step of this solution correct, given the question and the steps before it? Answer Yes or No.",
    {"yes": 1.0, "no": 0.0},
)
GRADE = Form(
    "grade",
    "How good is the last step of this solution, given the question and the steps before it? Answer with one digit "
    "from 0 (useless or wrong) to 9 (surely right and helpful).",
    {str(grade): grade / 9 for grade in range(10)},
)
TYPED = Form(
    "typed",
    "Is the last step of this solution correct, given the question and the steps before it? Reply in JSON: "
    "your answer, yes or no, and the probability that this answer is right.",
    {"yes": 1.0, "no": 0.0},
    {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "enum": ["yes", "no"]},
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["answer", "probability"],
        "additionalProperties": False,
    },
)
FORMS = {form.name: form for form in (YES_NO, GRADE, TYPED)}


@dataclass(frozen=True)
class _Judged:
    score: float
    tokens: int


class LlmJudge(ServerBackend):
    """A `Judge` from a chat model's answers; one request for each new step.

    Args:
        base_url, model, api_key, timeout, retries: see `trim.backends.client.Server`.
        form: what is asked: `YES_NO`, `GRADE` or `TYPED`.
        steps: how steps are joined.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        form: Form,
        *,
        steps: StepFormat | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        super().__init__(form.name, "judge", base_url, model, api_key=api_key, timeout=timeout, retries=retries)
        self.form = form
        self.steps = steps or StepFormat()
        self._known: OrderedDict[tuple[str, ...], _Judged] = OrderedDict()

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """The value of each step's answer. `Scores.tokens` are those that the judge read now.

        Raises:
            BackendError: the judge failed, or answers with something else than what it was asked for.
        """
        asked = "\n\n".join((*(f"{said.role}: {said.text}" for said in question.messages), question.text))
        keys = [(asked, *steps[: index + 1]) for index in range(len(steps))]
        new = [key for key in keys if key not in self._known]
        for key, judged in zip(new, await asyncio.gather(*map(self._ask, new)), strict=True):
            self._known[key] = judged
        judged = [self._known[key] for key in keys]
        scores = Scores(
            tuple(one.score for one in judged),
            sum(self._known[key].tokens for key in new),
            up_to=tuple(accumulate(one.tokens for one in judged)),
            rereads=False,
        )
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return scores

    async def _ask(self, key: tuple[str, ...]) -> _Judged:
        question, *steps = key
        text = f"Question: {question}\n\nSolution so far:\n\n{self.steps.join(tuple(steps))}\n\n{self.form.instruction}"
        body: dict[str, Any] = {
            "model": self.server.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
        }
        if self.form.schema is None:
            body |= {"max_tokens": 4, "logprobs": True, "top_logprobs": 20}
        else:
            named = {"name": "judgement", "strict": True, "schema": dict(self.form.schema)}
            body |= {"max_tokens": 64, "response_format": {"type": "json_schema", "json_schema": named}}
        self.usage.calls += 1
        answer = await self.server.post("chat/completions", body)
        try:
            choice: Any = answer["choices"][0]
            said = str(choice["message"]["content"])
            first = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
            chances = [(str(entry["token"]), exp(float(entry["logprob"]))) for entry in first]
            used = answer.get("usage") or {}
            tokens = int(used.get("prompt_tokens", 0))
            self.usage.completion_tokens += int(used.get("completion_tokens", 0))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise BadResponse(self.server.name, "not an answer of a chat API") from None
        self.usage.prompt_tokens += tokens
        return _Judged(self._value(said, chances), tokens)

    def _value(self, said: str, chances: list[tuple[str, float]]) -> float:
        """The expected value over the first token where its chances are known, else that of the first word."""
        if self.form.schema is not None:
            return self._typed(said)
        known = [
            (self.form.values[word], chance) for token, chance in chances if (word := _word(token)) in self.form.values
        ]
        total = sum(chance for _, chance in known)
        if total > 0:
            return sum(value * chance for value, chance in known) / total
        word = _word(said.strip().partition(" ")[0])
        if word not in self.form.values:
            raise BadResponse(self.server.name, f"answered {said[:40]!r}, not one of {', '.join(self.form.values)}")
        return self.form.values[word]

    def _typed(self, said: str) -> float:
        """The expected value of a typed answer: its value with its probability, the opposite value with the rest."""
        try:
            found = json.loads(said)
            value, sure = self.form.values[found["answer"]], float(found["probability"])
            if not 0.0 <= sure <= 1.0:
                raise ValueError(sure)
        except (ValueError, KeyError, TypeError):
            problem = f"answered {said[:60]!r}, not in the schema that it was given"
            raise BadResponse(self.server.name, problem, "the server must honour response_format json_schema") from None
        return value * sure + (1.0 - value) * (1.0 - sure)

    async def trial(self, found: Probe) -> Probe:
        """Whether the judge answers as it was asked."""
        try:
            await self._ask(("What is 1 + 1?", "1 + 1 = 2"))  # not through `score`, which remembers
        except BackendError as error:
            return replace(found, problem=str(error))
        return found


def _word(token: str) -> str:
    return token.strip().strip(".,:;!*\"'").lower()


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> LlmJudge:
    """The judge that `[prm]` describes; its `backend` is the form of the question."""
    return LlmJudge(
        settings.base_url,
        settings.model,
        FORMS[settings.backend],
        steps=step_format,
        api_key=api_key,
        timeout=settings.timeout,
        retries=settings.retries,
    )
