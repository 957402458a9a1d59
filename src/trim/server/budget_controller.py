"""Follows a target strong share, or a target spend, by moving a policy's one parameter after every answer.

The strong share here is strong tokens over tokens of the answers: what the strong model alone would have written is not
known while serving, so an answer's length stands in for it. The controller moves an effort in [0, 1], which the policy
turns into its own parameter (`Tunable.at_effort`). The effort starts at the target share.

Two terms move it: how far the last answer was from the target, and the accumulated error, strong tokens above the
target since the beginning, which is corrected over the next hundred answers. With both, the mean over all answers
approaches the target even if questions drift.

Spend is followed as a share too: an answer's cost over what the strong model alone would have cost. Its target changes
with time: what is left of the budget is spread evenly over what is left of the hour or day, and divided by what the
answers that come in that time would cost if the strong model wrote them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

from trim.errors import ConfigError
from trim.protocols import Policy, Tunable
from trim.server.usage_store import UsageStore

logger = logging.getLogger("trim.server")
_GAIN = 0.04  # of the effort, per answer and unit of share
_CORRECTION = 100  # answers over which the accumulated error is corrected
_SMOOTHING = 0.05  # weight of an answer in moving averages
_LAST_PART = 0.05  # of an hour or day: what is left of the target is never spent faster than over this part of it
_STORED_SCORES = 200
_MAX_SCORES = 1_000  # recent ones that quantiles are taken of
_AHEAD = (0.125, 0.25, 0.5, 0.75, 1.0)  # of the gain: how far the next answer may move the effort


@dataclass(frozen=True, slots=True)
class TargetState:
    """What a controller has seen. Tokens are sums over all answers so far."""

    effort: float
    strong_tokens: int = 0
    tokens: int = 0
    answers: int = 0
    full: float = 0.0  # for spend, moving averages: an answer's cost by the strong model alone,
    seconds: float = 0.0  # and the time between answers, of which
    last: float = 0.0  # the newest ended then; 0: not known

    @classmethod
    def restored(cls, saved: Mapping[str, object]) -> TargetState:
        """What was stored.

        Raises:
            ValueError: that is no state.
        """
        values = {"last": 0.0} | {field.name: saved[field.name] for field in fields(cls) if field.name in saved}
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        if len(numbers) < len(fields(cls)) or not all(0 <= value < inf for value in numbers.values()):
            raise ValueError(f"{values} is not the state of a controller")
        counts = {name: int(numbers[name]) for name in ("strong_tokens", "tokens", "answers")}
        return cls(
            min(numbers["effort"], 1.0),
            **counts,
            full=numbers["full"],
            seconds=numbers["seconds"],
            last=numbers["last"],
        )

    def counted(self, outcome: AnswerOutcome) -> TargetState:
        """With one more answer."""
        return replace(
            self,
            strong_tokens=self.strong_tokens + outcome.strong_tokens,
            tokens=self.tokens + outcome.tokens,
            answers=self.answers + 1,
        )

    def moved(self, target: float, realised: float, weight: float) -> TargetState:
        """The effort moved from the realised share towards the target, by an answer of this weight (mean 1)."""
        effort = self.effort + _GAIN * (min(max(target, 0.0), 1.0) - realised) * min(weight, 4.0)
        return replace(self, effort=min(max(effort, 0.0), 1.0))

    @property
    def share(self) -> float:
        """The realised share."""
        return self.strong_tokens / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """What an answer used. `full` is what the strong model alone would have cost; `scores` are those that decisions
    were made on.
    """

    strong_tokens: int
    tokens: int
    cost: float = 0.0
    full: float = 0.0
    scores: Sequence[float] = ()

    @property
    def usable_scores(self) -> list[float]:
        """Those that are probabilities."""
        return [score for score in self.scores if 0 <= score <= 1]

    @property
    def sound(self) -> bool:
        """Whether these are amounts, from which something can be learnt."""
        return all(0 <= amount < inf for amount in (self.strong_tokens, self.tokens, self.cost, self.full))


Move = Callable[[TargetState], TargetState]
"""How an answer moves a state, whichever that is by the time at which it is moved."""


def _stay(state: TargetState) -> TargetState:
    return state


class ShareController:
    """Follows a target share with one policy.

    Args:
        policy: a `Tunable` one; its parameter is moved.
        share: the target, in [0, 1].

    Raises:
        ConfigError: the policy has no parameter to move.
    """

    def __init__(self, policy: Policy, share: float) -> None:
        if not isinstance(policy, Tunable):
            raise ConfigError(f"the policy {policy.name} has no parameter that could follow a target share or spend")
        self.share = share
        self.state = TargetState(share)
        self.scores: deque[float] = deque(maxlen=_MAX_SCORES)
        self.unstored = 0  # changes of the state that are not in the usage store yet
        self._policy = policy

    def policy(self) -> Policy:
        """The policy for the next answer."""
        return self._policy.at_effort(self.state.effort, self.scores)

    def upcoming(self) -> Iterator[Policy]:
        """Policies that the next answer may lead to, the nearest first."""
        for part in _AHEAD:
            for effort in (self.state.effort + part * _GAIN, self.state.effort - part * _GAIN):
                yield self._policy.at_effort(min(max(effort, 0.0), 1.0), self.scores)

    def update(self, outcome: AnswerOutcome) -> Move:
        """Move the effort after an answer; returns how, so that others can move theirs."""
        self.scores.extend(outcome.usable_scores)
        move = self._move(outcome) if outcome.sound else _stay
        self.state = move(self.state)
        return move

    def _move(self, outcome: AnswerOutcome) -> Move:
        if outcome.tokens <= 0:
            return _stay

        def move(old: TargetState) -> TargetState:
            state = old.counted(outcome)
            mean = state.tokens / state.answers
            error = (state.strong_tokens - self.share * state.tokens) / mean
            realised = outcome.strong_tokens / outcome.tokens
            return state.moved(self.share - error / _CORRECTION, realised, outcome.tokens / mean)

        return move


class SpendController(ShareController):
    """Follows a target spend in an hour or day; all that the usage store counts is spend.

    Args:
        policy: as for a share.
        targets: target spend by the hours that it is for, 1 or 24.
        usage: what was spent, and the time.
    """

    def __init__(self, policy: Policy, targets: Mapping[int, float], usage: UsageStore) -> None:
        super().__init__(policy, 0.5)
        self._targets = targets
        self._usage = usage

    def _move(self, outcome: AnswerOutcome) -> Move:
        """After an answer that the usage store already counts."""
        if outcome.full <= 0:
            return _stay
        now = self._usage.clock()
        rate = self._rate(now)

        def move(old: TargetState) -> TargetState:
            seconds = max(0.0, now - old.last) if old.last else old.seconds
            state = replace(
                old.counted(outcome),
                full=old.full + _SMOOTHING * (outcome.full - old.full) if old.answers else outcome.full,
                # A quiet night says little about the morning: one pause counts for ten at most.
                seconds=old.seconds + _SMOOTHING * (min(seconds, 10 * old.seconds) - old.seconds)
                if old.seconds
                else seconds,
                last=max(now, old.last),
            )
            return state.moved(
                rate * state.seconds / state.full, outcome.cost / outcome.full, outcome.full / state.full
            )

        return move

    def _rate(self, now: float) -> float:
        """The spend per second that meets the nearest target."""
        rates = []
        for hours, target in self._targets.items():
            first = self._usage.hour() // hours * hours
            left = max((first + hours) * 3600 - now, hours * 3600 * _LAST_PART)
            rates.append(max(0.0, target - self._usage.totals(first).cost) / left)
        return min(rates)


class TargetControllers:
    """A controller for each policy and target share that is asked for, and for target spend. Their states are kept in
    the usage store. If there are too many, the one that was not used for the longest time is dropped from memory.

    Args:
        usage: keeps their states.
        spend_targets: see `SpendController`.
    """

    _MAX_CONTROLLERS = 64

    def __init__(self, usage: UsageStore, spend_targets: Mapping[int, float] | None = None) -> None:
        self._usage = usage
        self._spend_targets = spend_targets or {}
        self._controllers: dict[tuple[str, float | None], ShareController] = {}

    def get(self, policy: Policy, share: float | None) -> ShareController:
        """The controller that follows this target share; None: the one that follows the target spend.

        Raises:
            ConfigError: the policy has no parameter to move.
        """
        found = self._controllers.pop((policy.name, share), None)
        if found is not None:
            self._controllers[policy.name, share] = found  # in the order of their last use
            return found
        if share is None:
            made: ShareController = SpendController(policy, self._spend_targets, self._usage)
        else:
            made = ShareController(policy, share)
        self._restore(made, _key(policy.name, share))
        if len(self._controllers) >= self._MAX_CONTROLLERS:
            del self._controllers[next(iter(self._controllers))]
        self._controllers[policy.name, share] = made
        return made

    def _restore(self, controller: ShareController, name: str) -> None:
        """Continue from the stored state, if there is one."""
        if (saved := self._usage.load_state(name)) is None:
            return
        try:
            controller.state = TargetState.restored(saved)
        except ValueError as error:
            logger.warning("the controller of %s starts anew: %s", name, error)
            return
        controller.scores.extend(_scores(saved))

    def update(self, target: tuple[str, float | None], outcome: AnswerOutcome) -> ShareController | None:
        """Tell the controller of a target about an answer; None: it was dropped while the answer was written."""
        if (controller := self._controllers.get(target)) is None:
            return None
        move = controller.update(outcome)
        self._share(_key(*target), controller, move, outcome)
        return controller

    def _share(self, name: str, controller: ShareController, move: Move, outcome: AnswerOutcome) -> None:
        """Store the state, with what other processes have stored since; this one goes on from all of that."""

        def change(stored: dict[str, Any] | None) -> dict[str, Any]:
            try:
                state = TargetState.restored(stored or {})
            except ValueError:
                return _saved(controller.state, list(controller.scores))
            return _saved(move(state), [*_scores(stored or {}), *outcome.usable_scores])

        def adopt(changed: Future[dict[str, Any]]) -> None:
            controller.unstored -= 1
            if not controller.unstored:
                controller.state = TargetState.restored(changed.result())

        controller.unstored += 1
        expected = _saved(controller.state, list(controller.scores))
        self._usage.change_state(name, expected, change).add_done_callback(adopt)

    def items(self) -> list[tuple[str, ShareController]]:
        """All controllers, each with its target: a share, or `spend`."""
        return [(target_name(target), controller) for target, controller in self._controllers.items()]


def target_name(target: tuple[str, float | None]) -> str:
    """What a target is in metrics: the share, or `spend`."""
    share = target[1]
    return "spend" if share is None else f"{share:g}"


def _saved(state: TargetState, scores: Sequence[float]) -> dict[str, Any]:
    """A state as it is stored."""
    return asdict(state) | {"scores": [round(score, 4) for score in scores[-_STORED_SCORES:]]}


def _scores(saved: Mapping[str, object]) -> list[float]:
    """The scores of a stored state."""
    known = saved.get("scores")
    found = known if isinstance(known, list) else []
    return [score for score in found if isinstance(score, int | float) and 0 <= score <= 1]


def _key(policy: str, share: float | None) -> str:
    return f"{policy} spend" if share is None else f"{policy} {share!r}"
