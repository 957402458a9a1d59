"""Value of policies trained by `trim train --source simulate`, on the simulation that they were trained on, compared
with the exact plan, the best threshold for each price and the weak model alone.

    trim train agg --source simulate --out policies/agg
    python -m benchmarks.learned_value agg=policies/agg [seq=policies/seq] [--questions 2000]

The world is the textbook pair: the POMDP's model is the whole truth there. Value is accuracy - price * strong tokens;
its mean over five prices counts. All policies get the same questions and random draws, none of them seen in training,
and `of_exact` has a 95% interval from 1,000 resamplings of the questions. The threshold is chosen with hindsight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trim.policies import PolicySpec, Threshold
from trim.policies.learned.policy import KINDS, PAPER_ACTIONS, LearnedPolicy
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.training.episodes import Source, solve
from trim.training.simulated_source import price_range, simulated, textbook
from trim.types import Role

_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SEED = 900_000

Floats = NDArray[np.float64]


def outcomes(source: Source, policies: Sequence[Policy]) -> Floats:
    """Right answers and strong tokens by policy and question, shape (policies, 2, questions)."""
    jobs = [(policy, question) for policy in policies for question in source.questions]
    traces = asyncio.run(solve(source, jobs, seed=_SEED))
    rows = [(bool(trace.correct), trace.usage[Role.STRONG].completion_tokens) for trace in traces]
    return np.array(rows, float).reshape(len(policies), len(source.questions), 2).transpose(0, 2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="+", metavar="KIND=DIR")
    parser.add_argument("--questions", type=int, default=2_000)
    args = parser.parse_args()
    model = textbook()
    source = simulated(model, PAPER_ACTIONS, questions=args.questions, validation=0, seed=_SEED)
    prices = np.array(price_range(model.step_tokens).grid(5))

    def priced(found: Floats) -> Floats:
        """Values by price and question, where the policies are one for each price."""
        return found[:, 0] - prices[:, None] * found[:, 1]

    planner = PomdpPolicy(model, 0.0)
    values = {"exact": priced(outcomes(source, [planner.at(price) for price in prices]))}
    tried = outcomes(source, [Threshold(threshold) for threshold in _THRESHOLDS])
    every = tried[:, None, 0] - prices[None, :, None] * tried[:, None, 1]  # by threshold, price, question
    best = every.mean(axis=2).argmax(axis=0)
    values["weak alone"], values["threshold"] = every[0], every[best, np.arange(len(prices))]
    for name in args.policies:
        spec = PolicySpec.parse(name)
        kind = next(kind for kind in KINDS if kind == spec.family)
        policy = LearnedPolicy.load(Path(spec.folder), kind=kind)
        values[kind] = priced(outcomes(source, [policy.at(price) for price in prices]))
    rng = np.random.default_rng(0)
    samples = rng.integers(args.questions, size=(1_000, args.questions))
    exact = values["exact"].mean(axis=0)
    for name, found in values.items():
        mine = found.mean(axis=0)
        ratios = mine[samples].mean(axis=1) / exact[samples].mean(axis=1)
        row = {
            "policy": name,
            "value": round(float(mine.mean()), 4),
            "of_exact": round(float(mine.mean() / exact.mean()), 4),
            "interval": [round(float(q), 4) for q in np.quantile(ratios, (0.025, 0.975))],
            "by_price": {
                f"{price:.2g}": round(float(v), 3) for price, v in zip(prices, found.mean(axis=1), strict=True)
            },
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
