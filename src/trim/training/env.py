"""The routing problem as a Gymnasium environment, so that other libraries can learn on it. Needs the `train` extra.

An episode is a question at a price; an action decides about the draft on the table. The Router does the solving, in a
thread of its own: its policy hands each observation out and waits for the action.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from trim.errors import ConfigError, MissingExtra, TrimError
from trim.policies.learned.features import OURS, WITH_RESAMPLE, Aggregate, PriceRange, Vector
from trim.policies.learned.policy import PAPER_ACTIONS
from trim.protocols import Policy
from trim.training.episodes import Source
from trim.types import Action, Observation, Question, Role, Trace

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    raise MissingExtra("gymnasium", "train") from None

_HIGH = 1e3  # no feature is larger: tokens are divided by 300


class _Abandoned(TrimError):
    """Raised in the Router's thread when the episode is reset before its end."""


@dataclass(frozen=True)
class _ActionsFromOutside(Policy):
    """A policy that puts each observation into `events` and waits in `actions` for what to do; None abandons it."""

    price: float
    events: SimpleQueue[Observation | Trace | BaseException]
    actions: SimpleQueue[Action | None]
    name: str = "env"
    uses_drafts: bool = True
    uses_scores: bool = True

    @property
    def parameter(self) -> float:
        """The episode's price of a strong token."""
        return self.price

    def act(self, observation: Observation) -> Action:
        """Wait for the action that `step` is called with."""
        self.events.put(observation)
        action = self.actions.get()
        if action is None:
            raise _Abandoned
        return action


class RoutingEnv(gymnasium.Env[Vector, np.int64]):
    """Decide about drafts; reward -price * (strong + weak_price * weak tokens) a decision, and 1 for a correct answer.

    Observations are those of TRIM-Agg, shape (features + 1,), the last one the scaled logarithm of the price. Action i
    stands for `actions[i]`. `reset` takes a price and a `Question` as options; without, they are drawn.

    Args:
        source: questions and models. Clients of servers belong to the environment's thread: use them nowhere else.
        prices: drawn from log-uniformly.
        actions: CONTINUE among them.
        weak_price: of a weak token, relative to a strong one.

    Raises:
        ConfigError: no CONTINUE among the actions; a price outside the range, at `reset`.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's way

    def __init__(
        self,
        source: Source,
        prices: PriceRange,
        actions: tuple[Action, ...] = PAPER_ACTIONS,
        weak_price: float = 0.0,
    ) -> None:
        if Action.CONTINUE not in actions:
            raise ConfigError(f"CONTINUE must be among the actions, not only {', '.join(actions)}")
        self.features = Aggregate(WITH_RESAMPLE if Action.RESAMPLE in actions else OURS)
        self.observation_space = spaces.Box(-1.0, _HIGH, (self.features.width,), np.float32)
        self.action_space = spaces.Discrete(len(actions))
        self._source = source
        self._prices = prices
        self._actions = actions
        self._weak_price = weak_price
        self._jobs: SimpleQueue[tuple[Policy, Question, int] | None] = SimpleQueue()
        self._events: SimpleQueue[Observation | Trace | BaseException] = SimpleQueue()
        self._chosen: SimpleQueue[Action | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._observation: Observation | None = None  # of the draft on the table; None between episodes
        self._price = prices.at(0.5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Draw a question, or take the given one, and return the observation of its first draft."""
        super().reset(seed=seed)
        self._abandon()
        given = options or {}
        self._price = float(given.get("price", self._prices.at(self.np_random.random())))
        self._prices.scaled(self._price)  # refuses one outside the range
        while True:
            drawn = self._source.questions[int(self.np_random.integers(len(self._source.questions)))]
            question, sampling = given.get("question", drawn), int(self.np_random.integers(2**31))
            self._start(_ActionsFromOutside(self._price, self._events, self._chosen), question, sampling)
            event = self._next_event()
            if isinstance(event, Observation):  # else the weak model ended the solution before its first step
                return self._read(event), {"price": self._price}

    def step(self, action: np.int64) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Act on the draft on the table; the reward is minus its cost, plus 1 for a correct answer at the end.

        Raises:
            ConfigError: before `reset`.
            BackendError: a model failed.
        """
        before = self._observation
        if before is None:
            raise ConfigError("the episode is over: reset first")
        self._chosen.put(self._actions[int(action)])
        event = self._next_event()
        ended = isinstance(event, Trace)
        after = event.usage[Role.STRONG].completion_tokens if isinstance(event, Trace) else event.strong_tokens
        cost = after - before.strong_tokens + self._weak_price * before.tokens[-1]
        info: dict[str, Any] = {"price": self._price, "strong_tokens": after}
        if isinstance(event, Trace):
            task = self._source.task
            info["correct"] = task.right(task.answer(event.said), event.question)
            self._observation = None
            last = self.features.read(before, self._prices.scaled(self._price))
            return last, float(info["correct"]) - self._price * cost, ended, False, info
        return self._read(event), -self._price * cost, ended, False, info

    def close(self) -> None:
        """End the Router's thread; another `reset` starts a new one."""
        self._abandon()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _read(self, observation: Observation) -> Vector:
        self._observation = observation
        return self.features.read(observation, self._prices.scaled(self._price))

    def _start(self, policy: Policy, question: Question, seed: int) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="trim-env", daemon=True)
            self._thread.start()
        self._jobs.put((policy, question, seed))

    def _next_event(self) -> Observation | Trace:
        """The next observation, or the trace that ends the episode."""
        event = self._events.get()
        if isinstance(event, BaseException):
            self._observation = None
            raise event
        return event

    def _abandon(self) -> None:
        if self._observation is not None:
            self._chosen.put(None)
            event = self._events.get()
            self._observation = None
            if not isinstance(event, _Abandoned):
                raise AssertionError(f"an abandoned episode went on: {event!r}")

    def _serve(self) -> None:
        """Run in the thread: route one question after the other."""
        with asyncio.Runner() as runner:
            while (job := self._jobs.get()) is not None:
                policy, question, seed = job
                router = self._source.router(policy)
                try:
                    self._events.put(runner.run(router.route(question, seed=seed)))
                except Exception as error:
                    self._events.put(error)
