"""Time of one decision of a learned policy: features and network, batch 1, on one core.

    python -m benchmarks.learned_decision_time

Parameters are drawn at random, since time does not depend on them. The targets are 100 microseconds for agg and 400 for
seq; what counts for seq is the number of steps, 30 at most by default.
"""

from __future__ import annotations

import json
import timeit

import numpy as np

from tests.policies.learned.networks_made import made_up
from trim.types import Action, Observation

_DECISIONS = 2_000
_REPEATS = 7


def observation(steps: int) -> Observation:
    """A solution of so many steps, every third written by the strong model."""
    scores = tuple(np.random.default_rng(steps).random(steps).tolist())
    actions = tuple(Action.REGENERATE if i % 3 == 2 else Action.CONTINUE for i in range(steps - 1))
    return Observation(scores, (60,) * steps, actions, draft_scores=tuple((score,) for score in scores))


def main() -> None:
    for kind, goal in (("agg", 100), ("seq", 400)):
        policy = made_up("agg" if kind == "agg" else "seq")
        for steps in (1, 8, 30):
            seen = observation(steps)
            timer = timeit.Timer(lambda: policy.act(seen))  # noqa: B023  # called before the next round
            runs = timer.repeat(_REPEATS, _DECISIONS)
            row = {"policy": kind, "steps": steps, "microseconds": round(min(runs) / _DECISIONS * 1e6, 1), "goal": goal}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
