"""Holds a strong share, or a rate of spend, over time by moving a policy's one parameter after every answer.

The share held is strong tokens over tokens of the answers: what the strong model alone would have written is not known
while serving, an answer's length stands for it. The controller moves an effort in [0, 1], which the policy turns into
its own parameter (`Tunable.at_effort`): a target share begins as that effort.

Two terms move it: the last answers' deviation from the share, and the debt, tokens that were spent too much since the
beginning, to be paid back over the next hundred answers. With both, the mean over all answers comes to the share even
if questions drift.

Spend is held as a share too: an answer's cost over what the strong model alone would have cost. Its aim changes with
time: what is left of the target is spread evenly over what is left of the hour or day, and divided by what the answers
that come in that time would cost if the strong model wrote them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from trim.errors import ConfigError
from trim.protocols import Policy, Tunable
from trim.server.usage_store import Books

_GAIN = 0.04  # of the effort, per answer and unit of share
_PAYBACK = 100  # answers
_RECENT = 0.05  # weight of an answer in what is of late
_LAST = 0.05  # of an hour or day: what is left of the target is not spent faster than over so much of it
_SCORES = 1_000  # recent ones that quantiles are taken of


@dataclass(frozen=True, slots=True)
class Held:
    """Where a held share stands. Tokens are sums over all answers so far."""

    effort: float
    strong_tokens: int = 0
    tokens: int = 0
    answers: int = 0
    full: float = 0.0  # of late, for spend: an answer's cost by the strong model alone, and seconds between answers
    seconds: float = 0.0

    def moved(self, aim: float, realised: float, weight: float) -> Held:
        """The same with the effort moved towards where an answer of this weight (1: the mean) meets the aim."""
        moved = self.effort + _GAIN * (min(max(aim, 0.0), 1.0) - realised) * min(weight, 4.0)
        return replace(self, effort=min(max(moved, 0.0), 1.0))

    @property
    def share(self) -> float:
        """The realised share."""
        return self.strong_tokens / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer came to. `full` is what the strong model alone would have cost, `scores` are those that decisions
    were made on.
    """

    strong_tokens: int
    tokens: int
    cost: float = 0.0
    full: float = 0.0
    scores: Sequence[float] = ()


class Controller:
    """Holds one share for one policy.

    Args:
        policy: a `Tunable` one; its parameter is what gets moved.
        share: to hold, in [0, 1].

    Raises:
        ConfigError: a policy without a parameter to move.
    """

    def __init__(self, policy: Policy, share: float) -> None:
        if not isinstance(policy, Tunable):
            raise ConfigError(f"the policy {policy.name} has no parameter that a strong share could be held with")
        self.share = share
        self.held = Held(share)
        self.scores: deque[float] = deque(maxlen=_SCORES)
        self._policy = policy

    def policy(self) -> Policy:
        """The policy as the next answer shall be routed."""
        return self._policy.at_effort(self.held.effort, self.scores)

    def learn(self, outcome: Outcome) -> None:
        """Take in an answer."""
        self.scores.extend(outcome.scores)
        if outcome.tokens <= 0:
            return
        held = self.held
        held = replace(
            held,
            strong_tokens=held.strong_tokens + outcome.strong_tokens,
            tokens=held.tokens + outcome.tokens,
            answers=held.answers + 1,
        )
        mean = held.tokens / held.answers
        debt = (held.strong_tokens - self.share * held.tokens) / mean
        share = outcome.strong_tokens / outcome.tokens
        self.held = held.moved(self.share - debt / _PAYBACK, share, outcome.tokens / mean)


class SpendController(Controller):
    """Holds spend in an hour or day, of all that the books count.

    Args:
        policy: as for a share.
        targets: spend by the hours that it is for, 1 or 24.
        books: what was spent, and the time.
    """

    def __init__(self, policy: Policy, targets: Mapping[int, float], books: Books) -> None:
        super().__init__(policy, 0.5)
        self._targets = targets
        self._books = books
        self._last: float | None = None

    def learn(self, outcome: Outcome) -> None:
        """Take in an answer that the books have."""
        self.scores.extend(outcome.scores)
        if outcome.full <= 0:
            return
        held, now = self.held, self._books.clock()
        seconds = held.seconds if self._last is None else now - self._last
        self._last = now
        held = replace(
            held,
            strong_tokens=held.strong_tokens + outcome.strong_tokens,
            tokens=held.tokens + outcome.tokens,
            answers=held.answers + 1,
            full=held.full + _RECENT * (outcome.full - held.full) if held.answers else outcome.full,
            # A quiet night says little about the morning: one pause counts for ten at most.
            seconds=held.seconds + _RECENT * (min(seconds, 10 * held.seconds) - held.seconds)
            if held.seconds
            else seconds,
        )
        aim = self._rate(now) * held.seconds / held.full
        self.held = held.moved(aim, outcome.cost / outcome.full, outcome.full / held.full)

    def _rate(self, now: float) -> float:
        """Spend in a second that comes to the nearest target."""
        rates = []
        for hours, target in self._targets.items():
            first = self._books.hour() // hours * hours
            left = max((first + hours) * 3600 - now, hours * 3600 * _LAST)
            rates.append(max(0.0, target - self._books.spent(first).cost) / left)
        return min(rates)


class Controllers:
    """A controller for each policy and share that is asked for, and for spend, kept in the books. Those that nobody has
    asked for the longest are put away when there are too many.

    Args:
        books: keep them.
        targets: spend to hold, see `SpendController`.
    """

    _MOST = 64

    def __init__(self, books: Books, targets: Mapping[int, float] | None = None) -> None:
        self._books = books
        self._targets = targets or {}
        self._controllers: dict[tuple[str, float | None], Controller] = {}

    def of(self, policy: Policy, share: float | None) -> Controller:
        """The controller that holds this share; None: the one that holds spend.

        Raises:
            ConfigError: the policy has no parameter to hold it with.
        """
        share = None if share is None else round(share, 3)
        found = self._controllers.pop((policy.name, share), None)
        if found is not None:
            self._controllers[policy.name, share] = found  # the newest stand last
            return found
        made = SpendController(policy, self._targets, self._books) if share is None else Controller(policy, share)
        if (kept := self._books.kept(_name(policy.name, share))) is not None:
            made.scores.extend(kept.pop("scores"))
            made.held = Held(**kept)
        if len(self._controllers) >= self._MOST:
            del self._controllers[next(iter(self._controllers))]
        self._controllers[policy.name, share] = made
        return made

    def learn(self, held: tuple[str, float | None], outcome: Outcome) -> None:
        """Take in an answer that was routed by `of(...)`."""
        if (controller := self._controllers.get(held)) is None:
            return  # put away while the answer was written
        controller.learn(outcome)
        recent = [round(score, 4) for score in list(controller.scores)[-200:]]
        self._books.keep(_name(*held), asdict(controller.held) | {"scores": recent})

    def items(self) -> list[tuple[str, Controller]]:
        """All of them, with what they hold: a share, or spend."""
        return [("spend" if share is None else f"{share:g}", c) for (_, share), c in self._controllers.items()]


def _name(policy: str, share: float | None) -> str:
    return f"{policy} spend" if share is None else f"{policy} {share:g}"
