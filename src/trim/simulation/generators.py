"""Simulated generators. A step says in its text whether it is right, so the hidden state of a solution is known."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from random import Random
from statistics import NormalDist

import numpy as np

from trim.backends.base import BaseGenerator
from trim.errors import ConfigError
from trim.protocols import LateCounts, StepStream
from trim.seeding import uniform
from trim.types import Finish, Question, Role, Step, StepOptions

_WRONG = "(slip)"
_SEPARATOR = "\n\n"
_NORMAL = NormalDist()
_QUESTIONS = 4000  # that an average over hardness is taken over


def even_lengths(longest: int) -> tuple[float, ...]:
    """The `ends` of solutions whose lengths are uniform on 1 to `longest` steps."""
    return tuple(1 / (longest - step) for step in range(longest))


def gamma_lengths(mean: float, longest: int = 30) -> tuple[float, ...]:
    """The `ends` of solutions of about `mean` steps, at most `longest`: a gamma density of shape 4 at whole numbers.

    Lengths vary by half their mean, and the hazard rises to a plateau, as in recorded solutions of MATH problems.
    """
    weights = [step**3 * math.exp(-4 * step / mean) for step in range(1, longest + 1)]
    left = list(accumulate(reversed(weights)))[::-1]
    return tuple(weight / rest for weight, rest in zip(weights, left, strict=True))


def constant_accuracy(solved: float, ends: tuple[float, ...]) -> float:
    """The step accuracy, alike at all steps, with which a model alone solves this share of the questions.

    Raises:
        ConfigError: a share outside (0, 1).
    """
    if not 0.0 < solved < 1.0:
        raise ConfigError(f"a share of solved questions must lie between 0 and 1, not {solved}")
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        below = SimulatedModel(Role.WEAK, middle, ends).solved_alone < solved
        low, high = (middle, high) if below else (low, middle)
    return high


def is_right(steps: tuple[str, ...]) -> bool:
    """Whether no step of a simulated solution slipped."""
    return not any(_WRONG in step for step in steps)


def state_of(steps: tuple[str, ...]) -> int:
    """The hidden state of a simulated solution, an index into `trim.pomdp.STATES`."""
    first = next((index for index, step in enumerate(steps) if _WRONG in step), len(steps))
    return 0 if first == len(steps) else 1 if first == len(steps) - 1 else 2


@lru_cache(maxsize=4096)
def _hardness(text: str, difficulty: float) -> float:
    """How hard a question is; 1 on average."""
    return Random(f"hardness\0{text}").gammavariate(1 / difficulty, difficulty) if difficulty else 1.0


@dataclass(frozen=True)
class SimulatedModel(BaseGenerator):
    """A generator that writes a right step with some probability; after a slip every step is wrong.

    Args:
        role: weak or strong.
        accuracy: P(a step is right | everything before is), as this model's own solutions show it: one number, or one a
            step, the last of them for all steps after it.
        ends: ends[i] is P(step i, from 0, is the last | there is one), 1 past the end. How long a solution is, as a
            quantile, is a property of the question; so a question that is long for one model is for the other.
        step_tokens: mean tokens of a step.
        spread: standard deviation of a step's tokens over their mean (log-normal); 0: all alike.
        difficulty: variance over questions of how hard they are. Step i of a question of hardness z ~ Gamma with mean 1
            is right with exp(-z rates[i]). Errors gather on hard questions; what this model does alone stays the same.
        drafter: the weak model whose errors this one shares.
        coupling: 0 makes its errors independent of the drafter's (the paper's assumption), 1 puts them all at steps
            where the drafter errs, as many as fit; in between it mixes. What it does alone stays the same.
        question_tokens: prompt tokens before the first step; 0: no prompt tokens are counted at all.
        token_seconds: time one token takes; 0 never waits.
        block: tokens that arrive together.

    Raises:
        ConfigError: a number out of its range.
    """

    role: Role
    accuracy: float | tuple[float, ...]
    ends: tuple[float, ...] = even_lengths(10)
    step_tokens: float = 40
    spread: float = 0.0
    difficulty: float = 0.0
    drafter: SimulatedModel | None = None
    coupling: float = 0.0
    question_tokens: int = 0
    token_seconds: float = 0.0
    block: int = 1

    def __post_init__(self) -> None:
        given = self.accuracy if isinstance(self.accuracy, tuple) else (self.accuracy,)
        for name, values in (("accuracy", given), ("ends", self.ends), ("coupling", (self.coupling,))):
            if not values or not all(0.0 <= value <= 1.0 for value in values):
                raise ConfigError(f"simulated {self.role.value} model: {name} must lie in [0, 1], not {values}")
        if not (self.step_tokens >= 1 and self.spread >= 0 and 0 <= self.difficulty <= 10):
            raise ConfigError(
                f"simulated {self.role.value} model: step_tokens must be at least 1, spread not negative and "
                f"difficulty between 0 and 10, not {self.step_tokens}, {self.spread}, {self.difficulty}"
            )

    @property
    def identity(self) -> str:
        """Its role: a simulated model is described by its arguments."""
        return f"simulated:{self.role}"

    @cached_property
    def accuracies(self) -> tuple[float, ...]:
        """The accuracy of each step that there may be."""
        given = self.accuracy if isinstance(self.accuracy, tuple) else (self.accuracy,)
        return (*given, *given[-1:] * (len(self.ends) - len(given)))[: len(self.ends)]

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """Rates of error that give `accuracies` where questions differ in hardness: easy ones are overrepresented among
        the solutions that are still right at a step, so a question's own accuracy falls faster than what is seen.

        With E[exp(-z x)] = (1 + v x)^(-1 / v) for a gamma z of variance v, in closed form.
        """
        right = accumulate(self.accuracies, lambda sofar, accuracy: max(sofar * accuracy, 1e-30), initial=1.0)
        v = self.difficulty
        total = [(r**-v - 1) / v if v else -math.log(r) for r in right]
        return tuple(now - before for before, now in pairwise(total))

    @cached_property
    def repair(self) -> tuple[tuple[float, float], ...]:
        """For each step P(right | the draft is wrong) and P(right | it is right): q_R and q_C, so that `accuracies`
        are what the solutions of this model alone show.
        """
        if self.drafter is None:
            return tuple((accuracy, accuracy) for accuracy in self.accuracies)
        rates = (*self.drafter.rates, *self.drafter.rates[-1:] * len(self.ends))
        v = self.drafter.difficulty
        hardness = np.random.default_rng(0).gamma(1 / v, v, _QUESTIONS) if v else np.ones(1)
        alive = np.full_like(hardness, 1 / len(hardness))  # P(hardness | this model alone is still right)
        chances = []
        for accuracy, rate in zip(self.accuracies, rates, strict=False):
            errs = 1 - np.exp(-hardness * rate)
            often, error = float(alive @ errs), 1 - max(accuracy, 1e-9)
            together = min(1.0, error / often) if often else error
            on_wrong = (1 - self.coupling) * error + self.coupling * together
            on_right = min(max(error - often * on_wrong, 0.0) / (1 - often), error) if often < 1 else error
            chances.append((1 - on_wrong, 1 - on_right))
            alive *= 1 - errs * on_wrong - (1 - errs) * on_right
            alive /= alive.sum()
        return tuple(chances)

    @property
    def solved_alone(self) -> float:
        """P(a solution that this model writes alone is right)."""
        ends, right, there, solved = (*self.ends[:-1], 1.0), 1.0, 1.0, 0.0
        for accuracy, end in zip(self.accuracies, ends, strict=True):
            right *= accuracy
            solved += there * end * right
            there *= 1 - end
        return solved

    @property
    def step_accuracy(self) -> float:
        """Right steps over steps up to and including the first error, over all its solutions alone."""
        reached = correct = 0.0
        still = 1.0  # P(there is a step i, and all before it are right)
        for accuracy, end in zip(self.accuracies, self.ends, strict=True):
            reached += still
            correct += still * accuracy
            still *= accuracy * (1 - end)
        return correct / reached

    @cached_property
    def lengths(self) -> tuple[float, ...]:
        """P(a solution has at most i + 1 steps)."""
        left = list(accumulate(self.ends, lambda rest, end: rest * (1 - end), initial=1.0))
        return tuple(1 - rest for rest in left[1:])

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _SimulatedStream(self, question, kept, options)

    def write(self, question: Question, index: int, options: StepOptions, *, right_so_far: bool) -> Step:
        """Step `index` of a solution."""
        key = (options.seed, question.text, self.role, index, options.attempt)
        mark = int(uniform("mark", *key) * 16**6)  # other seeds, other texts, and so other scores
        text = f"Step {index + 1} by {self.role.value} draft {options.attempt + 1} [{mark:06x}]"
        right = right_so_far and self.gets_right(question, index, options)
        if not right:
            text += f" {_WRONG}"
        last = index + 1 >= self.length(question)
        if last:
            text += f": #### {'right' if right else 'wrong'}"
        if last:
            return Step(text, self.role, self._tokens(key), Finish.EOS)
        return Step(text + _SEPARATOR, self.role, self._tokens(key))

    def length(self, question: Question) -> int:
        """Steps of a solution of this question by this model."""
        return 1 + bisect_right(self.lengths, uniform("length", question.text))

    def gets_right(self, question: Question, index: int, options: StepOptions) -> bool:
        """Whether step `index` is right if everything before it is."""
        index = min(index, len(self.ends) - 1)
        if self.drafter is not None:
            first_draft = StepOptions(seed=options.seed)
            chance = self.repair[index][self.drafter.gets_right(question, index, first_draft)]
        else:
            chance = math.exp(-_hardness(question.text, self.difficulty) * self.rates[index])
        return uniform(options.seed, question.text, self.role, index, options.attempt) < chance

    def _tokens(self, key: tuple[object, ...]) -> int:
        if not self.spread:
            return round(self.step_tokens)
        sigma = math.sqrt(math.log1p(self.spread**2))
        normal = _NORMAL.inv_cdf(max(uniform("tokens", *key), 1e-12))
        return max(1, round(self.step_tokens * math.exp(sigma * normal - sigma**2 / 2)))


class _SimulatedStream:
    """One stream of a simulated model, with the tokens of its unfinished step."""

    def __init__(self, model: SimulatedModel, question: Question, kept: tuple[str, ...], options: StepOptions) -> None:
        self.pending_tokens = 0
        self.late_counts = LateCounts()
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
        finish = step.finish
        tokens = step.tokens
        if self._left is not None and self._left <= tokens:
            tokens, finish = self._left, Finish.LENGTH
        prompt = 0
        if self._index == self._first and model.question_tokens:
            prompt = model.question_tokens + round(model.step_tokens) * self._first
        if model.token_seconds:
            while self.pending_tokens < tokens:
                count = min(model.block, tokens - self.pending_tokens)
                await asyncio.sleep(model.token_seconds * count)
                self.pending_tokens += count
        self.pending_tokens = 0
        model.usage.calls += self._index == self._first
        model.usage.prompt_tokens += prompt
        model.usage.completion_tokens += tokens
        self._index += 1
        self._right = self._right and is_right((step.text,))
        self._left = None if self._left is None else self._left - tokens
        self._ended = finish is not Finish.SEPARATOR
        return Step(step.content if finish is Finish.LENGTH else step.text, step.role, tokens, finish, prompt)

    async def aclose(self) -> None:
        """Stop writing."""
        self._ended = True
        self._model.usage.completion_tokens += self.pending_tokens
        self.pending_tokens = 0
