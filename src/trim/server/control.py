"""Holds a strong share over time by moving a policy's one parameter after every answer.

The share held is strong tokens over tokens of the answers: what the strong model alone would have written is not known
while serving, an answer's length stands for it. The controller moves `effort` in [0, 1], which a policy turns into its
own parameter: the threshold is that quantile of recent scores, so that a share of 0.2 begins by rejecting the worst
fifth of the drafts, whatever the scores look like; a price falls from the dearest to the cheapest on a logarithmic
scale; a random rate is the effort itself.

Two terms move it: the last answers' deviation from the share, and the debt, tokens that were spent too much since the
beginning, to be paid back over the next hundred answers. With both, the mean over all answers comes to the share even
if questions drift.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from trim.errors import ConfigError
from trim.policies import RandomSteps, Threshold
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.server.books import Books

_GAIN = 0.04  # of the effort, per answer and unit of share
_PAYBACK = 100  # answers
_SCORES = 1_000  # recent ones that quantiles are taken of
_FEWEST_SCORES = 20
_PRICE_STEP = 1.05  # prices are rounded to powers of it: each new one is solved for


@dataclass(frozen=True, slots=True)
class Held:
    """Where a held share stands. Tokens are sums over all answers so far."""

    effort: float
    strong_tokens: int = 0
    tokens: int = 0
    answers: int = 0

    @property
    def share(self) -> float:
        """The realised share."""
        return self.strong_tokens / max(1, self.tokens)


class Controller:
    """Holds one share for one policy.

    Args:
        policy: random, threshold or pomdp; its parameter is what gets moved.
        share: to hold, in [0, 1].

    Raises:
        ConfigError: a policy without a parameter to move.
    """

    def __init__(self, policy: Policy, share: float) -> None:
        if not isinstance(policy, RandomSteps | Threshold | PomdpPolicy):
            raise ConfigError(f"the policy {policy.name} has no parameter that a strong share could be held with")
        self.share = share
        self.held = Held(share)
        self.scores: deque[float] = deque(maxlen=_SCORES)
        self._policy = policy

    def policy(self) -> Policy:
        """The policy as the next answer shall be routed."""
        effort, policy = self.held.effort, self._policy
        if isinstance(policy, RandomSteps):
            return replace(policy, rate=effort)
        if isinstance(policy, Threshold):
            return replace(policy, threshold=self._quantile(effort))
        prices = policy.prices()
        dear, cheap = math.log(2 * max(prices)), math.log(min(prices) / 2)
        wanted = dear + effort * (cheap - dear)
        return policy.at(math.exp(round(wanted / math.log(_PRICE_STEP)) * math.log(_PRICE_STEP)))

    def learn(self, strong_tokens: int, tokens: int, scores: Iterable[float] = ()) -> None:
        """Take in an answer: its strong tokens, all its tokens, the scores its decisions were made on."""
        self.scores.extend(scores)
        if tokens <= 0:
            return
        held = self.held
        held = replace(
            held,
            strong_tokens=held.strong_tokens + strong_tokens,
            tokens=held.tokens + tokens,
            answers=held.answers + 1,
        )
        mean = held.tokens / held.answers
        debt = (held.strong_tokens - self.share * held.tokens) / mean
        aim = min(max(self.share - debt / _PAYBACK, 0.0), 1.0)
        moved = held.effort + _GAIN * (aim - strong_tokens / tokens) * min(tokens / mean, 4.0)
        self.held = replace(held, effort=min(max(moved, 0.0), 1.0))

    def _quantile(self, effort: float) -> float:
        if len(self.scores) < _FEWEST_SCORES:
            return 0.5
        if effort >= 1.0:
            return 1.0
        place = effort * (len(self.scores) - 1)
        ordered = sorted(self.scores)
        below = int(place)
        above = ordered[min(below + 1, len(ordered) - 1)]
        return ordered[below] + (place - below) * (above - ordered[below])


class Controllers:
    """A controller for each policy and share that is asked for, kept in the books."""

    _MOST = 64

    def __init__(self, books: Books) -> None:
        self._books = books
        self._controllers: dict[tuple[str, float], Controller] = {}

    def of(self, policy: Policy, share: float) -> Controller:
        """The controller that holds this share.

        Raises:
            ConfigError: no such policy, or too many shares are held at once.
        """
        share = round(share, 3)
        found = self._controllers.get((policy.name, share))
        if found is not None:
            return found
        if len(self._controllers) >= self._MOST:
            raise ConfigError(f"{self._MOST} different strong shares are held already; use one of them")
        made = Controller(policy, share)
        if (kept := self._books.kept(_name(policy.name, share))) is not None:
            made.scores.extend(kept.pop("scores"))
            made.held = Held(**kept)
        self._controllers[policy.name, share] = made
        return made

    def learn(self, held: tuple[str, float], strong_tokens: int, tokens: int, scores: list[float]) -> None:
        """Take in an answer that was routed by `of(...)`."""
        controller = self._controllers[held]
        controller.learn(strong_tokens, tokens, scores)
        recent = [round(score, 4) for score in list(controller.scores)[-200:]]
        self._books.keep(_name(*held), asdict(controller.held) | {"scores": recent})

    def items(self) -> list[Controller]:
        """All of them."""
        return list(self._controllers.values())


def _name(policy: str, share: float) -> str:
    return f"{policy} {share:g}"
