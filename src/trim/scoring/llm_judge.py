"""Any chat model as a judge: it is asked about each new step and answers with a word.

Yes or no ("self-verification" where the weak model itself is asked), or a grade from 0 to 9 (SpecReason, arXiv
2504.07891). Where the server tells the probabilities of the answer's first token, the score is the expected value of
the answer, else the value of the answer that was given. Or a typed decision: JSON by a schema, with the answer and its
probability, for servers with structured output and no log-probabilities.

What a model thinks before it answers is no answer: it is left aside, and a model that thinks may write more.

What is asked stands first, and what is asked about a step is what was asked about the one before it with the step
behind it. So a server's prefix cache (vLLM, llama-server) holds all but the new step, as long as the steps of a
solution are asked about one after the other; those of several solutions share nothing but the instruction, and are
asked about at the same time. Several steps in one call would need their answers in between: a chat API gives one
answer a call.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import exp
from typing import Any

from trim.backends.answer_counts import AnswerTotals, whole_answer
from trim.backends.client import ServerBackend
from trim.backends.request_extras import RequestExtras
from trim.backends.response_json import parsed
from trim.backends.token_counts import TextCounter
from trim.errors import BackendError, BackendRefused, BadResponse
from trim.protocols import Probe
from trim.scoring.registry import JudgeSettings, extras_of
from trim.steps import StepFormat
from trim.types import Question, Scores

_ANSWER, _TYPED_ANSWER, _THOUGHTS = 4, 64, 4096  # tokens that a judge may write; the last where it thinks first
_WORD = re.compile(r"(?:[^\w-]|_|-(?!\d))*([^\W_]+)(?![.,]?\d)")  # the first: `**Yes**`, `7/9`; neither `-7` nor `7.5`
_LEAST = 0.1  # probability of all answers together from which they count though another word was written
_END_OF_THOUGHTS = "</think>"
_MAY_BE_REFUSED = ("max_completion_tokens", "temperature", "logprobs")  # what a refusal names is sent otherwise, or not
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
    "You are given a question and a solution as far as it is written. Is the last step of the solution correct, given "
    "the question and the steps before it? Answer Yes or No.",
    {"yes": 1.0, "no": 0.0},
)
GRADE = Form(
    "grade",
    "You are given a question and a solution as far as it is written. How good is the last step of the solution, given "
    "the question and the steps before it? Answer with one digit from 0 (useless or wrong) to 9 (surely right and "
    "helpful).",
    {str(grade): grade / 9 for grade in range(10)},
)
TYPED = Form(
    "typed",
    "You are given a question and a solution as far as it is written. Is the last step of the solution correct, given "
    "the question and the steps before it? Reply in JSON: your answer, yes or no, and the probability that this answer "
    "is right.",
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
class _Said:
    """What a model says.

    Args:
        text: its answer without the thoughts before it; empty: it did not come to one.
        cut: it was still writing, thoughts perhaps.
        tokens: each token of the answer with those that might stand in its place, and their log-probabilities.
    """

    text: str
    cut: bool
    tokens: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]

    @classmethod
    def of(cls, choice: Mapping[str, Any]) -> _Said:
        """From a choice of a chat's reply; raises what reading another form raises."""
        content = choice["message"].get("content") or ""
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part.get("type") == "text")
        _, ended, answer = str(content).rpartition(_END_OF_THOUGHTS)
        unfinished = not ended and answer.lstrip().startswith("<think")
        tokens = [
            (
                str(entry["token"]),
                tuple((str(one["token"]), float(one["logprob"])) for one in entry.get("top_logprobs") or ()),
            )
            for entry in (choice.get("logprobs") or {}).get("content") or ()
        ]
        behind = [i + 1 for i, (token, _) in enumerate(tokens) if _END_OF_THOUGHTS in token]
        text = "" if unfinished else answer.strip()
        return cls(text, unfinished or choice.get("finish_reason") == "length", tuple(tokens[max(behind, default=0) :]))

    def chances(self, word: str) -> list[tuple[str, float]]:
        """The tokens that might stand in place of this word, the first of the answer; none: that is not known."""
        first = next(((token, top) for token, top in self.tokens if _word(token)), None)
        if first is None or _word(first[0]) != word:
            return []
        return [(token, exp(logprob)) for token, logprob in first[1] if logprob <= 0.01]


@dataclass(frozen=True)
class _Judged:
    score: float
    read: int
    written: int
    estimated: bool


class LlmJudge(ServerBackend):
    """A `Judge` from a chat model's answers; one request for each new step, in their order.

    Args:
        base_url, model, api_key, timeout, retries, extras: see `trim.backends.client.Server`.
        form: what is asked: `YES_NO`, `GRADE` or `TYPED`.
        steps: how steps are joined.
        system: a system prompt, if any.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        form: Form,
        *,
        steps: StepFormat | None = None,
        system: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        extras: RequestExtras = RequestExtras(),
    ) -> None:
        super().__init__(
            form.name,
            "judge",
            base_url,
            model,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            extras=extras,
        )
        self.form = form
        self.steps = steps or StepFormat()
        self.system = system
        self._room = _ANSWER if form.schema is None else _TYPED_ANSWER
        self._refused: frozenset[str] = frozenset()
        self._text_counter = TextCounter()
        self._known: OrderedDict[tuple[str, ...], _Judged] = OrderedDict()

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """The value of each step's answer. `Scores.tokens` and `completion` are what the judge read and wrote now.

        Raises:
            BackendError: the judge failed, or answers with something else than what it was asked for.
        """
        asked = "\n\n".join((*(f"{said.role}: {said.text}" for said in question.messages), question.text))
        each: list[_Judged] = []
        new: list[_Judged] = []
        for index in range(len(steps)):
            judged = self._known.get(key := (asked, *steps[: index + 1]))
            if judged is None:
                self._known[key] = judged = await self._ask(key)
                new.append(judged)
            each.append(judged)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return Scores(
            tuple(one.score for one in each),
            sum(one.read for one in new),
            up_to=tuple(one.read for one in each),
            estimated=any(one.estimated for one in each),
            completion=sum(one.written for one in new),
            written=tuple(one.written for one in each),
        )

    async def _ask(self, key: tuple[str, ...]) -> _Judged:
        question, *steps = key
        solution = self.steps.joiner.join(steps)
        text = f"{self.form.instruction}\n\nQuestion: {question}\n\nSolution so far:\n\n{solution}"
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": text}]
        total = AnswerTotals()
        for room in dict.fromkeys((self._room, _THOUGHTS)):
            said, used = await self._request(messages, room)
            total += used
            if not said.cut or self._answers(said):
                break
        judged = _Judged(self._value(said), total.prompt, total.completion, total.estimated)
        self._room = room
        return judged

    async def _request(self, messages: list[dict[str, str]], room: int) -> tuple[_Said, AnswerTotals]:
        """What the model says, and the tokens of that. What its server refuses is left out from then on."""
        while True:
            options = self._options(room)
            self.usage.calls += 1
            try:
                answer = await self.server.post("chat/completions", {**options, "messages": messages})
                break
            except BackendRefused as error:
                self._refused = self._refused | {name for name in _MAY_BE_REFUSED if name in error.problem}
                if self._options(room) == options:
                    raise
        said: _Said | None = None
        with suppress(KeyError, IndexError, TypeError, ValueError, AttributeError):
            said = _Said.of(answer["choices"][0])
        asked = "\n".join(message["content"] for message in messages)
        used = whole_answer(self.server.name, answer, self._text_counter, asked, said.text if said else "")
        used.add_to(self.usage)
        if said is None:
            raise BadResponse(self.server.name, "not an answer of a chat API")
        return said, used

    def _options(self, room: int) -> dict[str, Any]:
        """The request without its messages."""
        refused = self._refused
        limit = "max_completion_tokens" if "max_completion_tokens" in refused else "max_tokens"
        options: dict[str, Any] = {"model": self.server.model, limit: room}
        if "temperature" not in refused:
            options["temperature"] = 0
        if self.form.schema is not None:
            named = {"name": "judgement", "strict": True, "schema": dict(self.form.schema)}
            options["response_format"] = {"type": "json_schema", "json_schema": named}
        elif "logprobs" not in refused:
            options |= {"logprobs": True, "top_logprobs": 20}
        return options

    def _answers(self, said: _Said) -> bool:
        """Whether the model has come to its answer, though it was cut off."""
        return "}" in said.text if self.form.schema is not None else self._expected(said) is not None

    def _value(self, said: _Said) -> float:
        """The expected value over the answer's first token where its chances are known, else that of the first word."""
        if not said.text:
            words = f"thought for {_THOUGHTS} tokens without an answer" if said.cut else "answered nothing"
            hint = "turn its thinking off, or take a judge that does not think"
            raise BadResponse(self.server.name, words, hint if said.cut else "")
        if self.form.schema is not None:
            return self._typed(said.text)
        if (value := self._expected(said)) is None:
            words = f"answered {said.text[:40]!r}, not one of {', '.join(self.form.values)}"
            raise BadResponse(self.server.name, words)
        return value

    def _expected(self, said: _Said) -> float | None:
        """The same; None: it answered something else, and was far from an answer."""
        values, word = self.form.values, _word(said.text)
        known = [(values[other], chance) for token, chance in said.chances(word) if (other := _word(token)) in values]
        total = sum(chance for _, chance in known)
        if total > 0 and (word in values or total >= _LEAST):
            return sum(value * chance for value, chance in known) / total
        return values.get(word)

    def _typed(self, said: str) -> float:
        """The expected value of a typed answer: its value with its probability, the opposite value with the rest."""
        try:
            found: Any = parsed(said[said.index("{") : said.rindex("}") + 1])
            value, sure = self.form.values[found["answer"]], found["probability"]
            if isinstance(sure, bool) or not 0.0 <= sure <= 1.0:
                raise ValueError(sure)
        except (ValueError, KeyError, TypeError):
            problem = f"answered {said[:60]!r}, not in the schema that it was given"
            raise BadResponse(self.server.name, problem, "the server must honour response_format json_schema") from None
        return float(value * sure + (1.0 - value) * (1.0 - sure))

    async def trial(self, found: Probe) -> Probe:
        """Whether the judge answers as it was asked."""
        try:
            await self._ask(("What is 1 + 1?", "1 + 1 = 2"))  # not through `score`, which remembers
        except BackendError as error:
            return replace(found, problem=str(error))
        return found


def _word(text: str) -> str:
    """The first word; empty: there is none. Vocabularies write a space before it as U+2581 or U+0120."""
    found = _WORD.match(text.lstrip(" \n\u2581\u0120"))
    return found[1].lower() if found else ""


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> LlmJudge:
    """The judge that `[prm]` describes; its `backend` is the form of the question."""
    return LlmJudge(
        settings.base_url,
        settings.model,
        FORMS[settings.backend],
        steps=step_format,
        system=settings.system,
        api_key=api_key,
        timeout=settings.timeout,
        retries=settings.retries,
        extras=extras_of(settings),
    )
