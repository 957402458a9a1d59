"""Simulated weak model, strong model and PRM with a known error process, for tests, benchmarks and planning.

A simulated step says in its text whether it is right, so the hidden state of a solution is known. Everything is drawn
from (seed, question, step, attempt) alone: an open stream and one opened anew write the same text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import blake2b

from trim.types import Finish, Question, Role, Scores, Step, StepOptions

_WRONG = "(slip)"


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = blake2b("\0".join(map(str, key)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56


def solution_length(question: Question, longest: int) -> int:
    """How many steps a solution of this question has: 1 to `longest`, the same for every model."""
    return 1 + int(uniform("length", question.text) * longest)


def is_right(steps: tuple[str, ...]) -> bool:
    """Whether no step of a simulated solution slipped."""
    return not any(_WRONG in step for step in steps)


@dataclass(frozen=True)
class SimulatedModel:
    """A generator that writes a right step with probability `accuracy`.

    Args:
        role: weak or strong.
        accuracy: P(step is right | everything before is); after a slip every step is wrong.
        longest: most steps of a solution.
        step_tokens: tokens of every step.
        token_seconds: time one token takes; 0 never waits.
        block: tokens that arrive together.
    """

    role: Role
    accuracy: float
    longest: int = 10
    step_tokens: int = 40
    token_seconds: float = 0.0
    block: int = 1

    def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _SimulatedStream(self, question, kept, options)

    def write(self, question: Question, index: int, options: StepOptions, *, right_so_far: bool) -> Step:
        """Step `index` of a solution."""
        attempt = options.attempt
        right = right_so_far and uniform(options.seed, question.text, self.role, index, attempt) < self.accuracy
        text = f"Step {index + 1} by {self.role.value} draft {attempt + 1}" + ("" if right else f" {_WRONG}")
        last = index + 1 >= solution_length(question, self.longest)
        if last:
            text += f": #### {'right' if right else 'wrong'}"
        return Step(text, self.role, self.step_tokens, Finish.EOS if last else Finish.SEPARATOR)


class _SimulatedStream:
    """One stream of a simulated model, with the tokens of its unfinished step."""

    def __init__(self, model: SimulatedModel, question: Question, kept: tuple[str, ...], options: StepOptions) -> None:
        self.pending_tokens = 0
        self._model = model
        self._question = question
        self._right = is_right(kept)
        self._index = self._first = len(kept)
        self._options = options
        self._ended = False
        self._left = options.max_tokens

    def __aiter__(self) -> _SimulatedStream:
        return self

    async def __anext__(self) -> Step:
        options, model = self._options, self._model
        if self._ended or self._index - self._first == options.limit:
            raise StopAsyncIteration
        if self._index > self._first:
            options = StepOptions(seed=options.seed)
        step = model.write(self._question, self._index, options, right_so_far=self._right)
        if self._left is not None and self._left <= step.tokens:
            step = Step(step.text, step.role, self._left, Finish.LENGTH)
        if model.token_seconds:
            while self.pending_tokens < step.tokens:
                count = min(model.block, step.tokens - self.pending_tokens)
                await asyncio.sleep(model.token_seconds * count)
                self.pending_tokens += count
        self.pending_tokens = 0
        self._index += 1
        self._right = self._right and _WRONG not in step.text
        self._left = None if self._left is None else self._left - step.tokens
        self._ended = step.finish is not Finish.SEPARATOR
        return step

    async def aclose(self) -> None:
        """Stop writing."""
        self._ended = True
        self.pending_tokens = 0


@dataclass(frozen=True)
class SimulatedPrm:
    """A PRM that is right about a step with probability `accuracy`; scores of right and wrong steps overlap.

    Args:
        accuracy: P(the score lies on the right side of 0.5).
        seconds: time one call takes; 0 never waits.
        step_tokens: tokens it reads per step.
    """

    accuracy: float = 0.9
    seconds: float = 0.0
    step_tokens: int = 41

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """One score per step; see `trim.protocols.ProcessRewardModel`."""
        if self.seconds:
            await asyncio.sleep(self.seconds)
        values = []
        for index, step in enumerate(steps):
            side = (_WRONG not in step) == (uniform("side", question.text, index, step) < self.accuracy)
            height = uniform("height", question.text, index, step) / 2
            values.append(0.5 + height if side else 0.5 - height)
        return Scores(tuple(values), self.step_tokens * len(steps))
