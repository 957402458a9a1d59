"""`trim explain`: why a fitted policy keeps or rewrites a draft."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from trim.errors import ConfigError

_DESCRIPTION = """\
The belief, the gain, the decision, and the price from which on the draft is
kept.

example:
  trim explain fits/gsm --step 2 --scores .9,.8,.3 --tokens 40
"""


def register(explain: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    explain.description = _DESCRIPTION
    explain.add_argument("policy", type=Path, metavar="DIR", help="what `trim fit pomdp` wrote")
    explain.add_argument("--step", type=int, help="of the draft, from 0 (default: that of the last score)")
    explain.add_argument("--scores", type=_scores, required=True, help="of all steps so far, the draft's last")
    explain.add_argument("--tokens", type=int, required=True, help="of the draft")
    explain.add_argument("--regenerated", type=_steps, default=(), help="steps by the strong model, such as 0,2")
    explain.add_argument(
        "--earlier-scores", type=_scores, default=(), help="of the step's earlier drafts, after RESAMPLE"
    )
    explain.add_argument("--resamples", type=int, default=0, help="drafts that may follow a first one (default: 0)")
    explain.add_argument("--price", type=float, help="of a strong token in correct answers (default: the saved one)")
    explain.add_argument("--final", action="store_true", help="the draft ends the solution")
    explain.add_argument("--json", action="store_true", help="print all numbers as JSON")
    explain.set_defaults(run=_explain)


def _scores(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (-1.0,)
    if not all(0 <= value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers in [0, 1] such as .9,.8,.3")
    return values


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of steps such as 0,2") from None


async def _explain(args: argparse.Namespace) -> int:
    from trim.experiments.explanation import Situation, explain
    from trim.policies.pomdp import PomdpPolicy

    policy = PomdpPolicy.load(args.policy)
    policy = policy if args.price is None else policy.at(args.price)
    policy = replace(policy, resamples=args.resamples or policy.resamples)
    if args.step not in (None, len(args.scores) - 1):
        raise ConfigError(
            f"--step {args.step} needs {args.step + 1} scores, those of all steps so far: there are {len(args.scores)}"
        )
    situation = Situation(args.scores, args.tokens, args.regenerated, args.earlier_scores, args.final)
    found = explain(policy, situation)
    if args.json:
        print(json.dumps(found.to_json()))
        return 0
    draft = "the final draft" if args.final else f"the draft at step {situation.step}"
    print(f"belief about {draft}: " + ", ".join(f"{s.upper()} {p:.3f}" for s, p in found.belief._asdict().items()))
    print(f"gain of rewriting it: {found.gain:.4f} correct answers")
    print(f"cost of rewriting it: {found.cost:.4f} ({args.tokens} tokens at {found.price:g})")
    print(f"decision: {found.action.value}")
    flip = found.flip_price
    print("it is kept at every price" if flip is None else f"it is kept from a price of {flip:.3g} on, rewritten below")
    return 0
