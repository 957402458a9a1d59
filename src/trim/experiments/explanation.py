"""Why a POMDP policy keeps or rewrites a draft: what `trim explain` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trim.errors import ConfigError
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp.belief import Belief
from trim.types import Action, Observation


@dataclass(frozen=True)
class Situation:
    """A draft that a policy is to decide about.

    Args:
        scores: of all steps so far, the draft's last.
        tokens: of the draft.
        regenerated: 0-based steps that the strong model wrote.
        earlier_scores: of the step's earlier drafts, after RESAMPLE.
        final: the draft ends the solution.

    Raises:
        ConfigError: no tokens, or `regenerated` names other steps than those before the draft.
    """

    scores: tuple[float, ...]
    tokens: int
    regenerated: Sequence[int] = ()
    earlier_scores: tuple[float, ...] = ()
    final: bool = False

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ConfigError("--tokens must be at least 1")
        if not set(self.regenerated) <= set(range(self.step)):
            raise ConfigError(f"--regenerated names steps before step {self.step}, from 0")

    @property
    def step(self) -> int:
        """The draft's 0-based step."""
        return len(self.scores) - 1

    def observation(self) -> Observation:
        """What the policy sees, every step having as many tokens as the draft."""
        before = range(self.step)
        strong = set(self.regenerated)
        return Observation(
            scores=self.scores,
            tokens=(self.tokens,) * len(self.scores),
            actions=tuple(Action.REGENERATE if n in strong else Action.CONTINUE for n in before),
            final=self.final,
            drafts=len(self.earlier_scores) + 1,
            draft_scores=(
                *(() if n in strong else (self.scores[n],) for n in before),
                (*self.earlier_scores, self.scores[-1]),
            ),
        )


@dataclass(frozen=True)
class Explanation:
    """A decision and what it follows from.

    `gain` and `cost` are those of rewriting the draft, in correct answers. From `flip_price` on it is kept; None: at
    every price.
    """

    belief: Belief
    gain: float
    price: float
    cost: float
    action: Action
    flip_price: float | None

    def to_json(self) -> dict[str, object]:
        """As `trim explain --json` prints it."""
        return asdict(self) | {"belief": self.belief._asdict()}


def explain(policy: PomdpPolicy, situation: Situation) -> Explanation:
    """Belief, gain, decision and flip price."""
    seen = situation.observation()
    belief = policy.believe(seen)
    gain = float(policy.solution.gain(situation.step, belief, final=situation.final))
    cost = policy.price * situation.tokens
    return Explanation(belief, gain, policy.price, cost, policy.act(seen), policy.flip_price(seen))
