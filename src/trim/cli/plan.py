"""`trim plan`: the accuracy-cost frontier of every policy, predicted by simulation, before any paid run."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli.options import count
from trim.cli.run_options import bar_of, quiet_option
from trim.errors import ConfigError
from trim.types import Price, Prices

if TYPE_CHECKING:
    from trim.experiments.forecast import Simulation

_DESCRIPTION = """\
Predicts accuracy and strong tokens of always-weak, always-strong, random,
threshold and pomdp for a pair of models that you describe: simulated models
and a simulated PRM solve simulated questions through the same Router as real
ones. No server is asked, no key is needed. Writes run.json, traces.jsonl,
results.json and frontier.png.

Say how good the models are, by step or by question: a weak model that gets
each step right with 0.87 solves about 37% of questions of 8 steps;
--weak-solves 0.37 says the same. Prompt tokens are left out of the costs.

examples:
  trim plan --weak-solves 0.38 --strong-solves 0.77 --out plan
  trim plan --weak-accuracy 0.87 --strong-accuracy 0.97 --prm-quality 0.95 \\
      --steps 12 --step-tokens 80 --out plan
  trim plan --weak-solves 0.5 --strong-solves 0.9 --strong-price 15 \\
      --weak-price 0.1 --out plan --json
  trim plan --from fits/gsm --out plan      a pair that trim fit pomdp measured
"""


_MEASURED = ("repair_accuracy", "prm_quality", "prm_scores", "steps", "step_tokens")
_SKILLS = ("weak_accuracy", "weak_solves", "strong_accuracy", "strong_solves")


def register(plan: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    plan.description = _DESCRIPTION
    pair = plan.add_argument_group("the pair")
    for role in ("weak", "strong"):
        how_good = pair.add_mutually_exclusive_group()
        how_good.add_argument(f"--{role}-accuracy", type=float, metavar="P", help="P(a step is right | all before are)")
        how_good.add_argument(f"--{role}-solves", type=float, metavar="P", help="share of questions it solves alone")
    pair.add_argument(
        "--repair-accuracy",
        type=float,
        metavar="P",
        help="P(the strong step is right | the draft was wrong) (default: all its errors are at the weak model's)",
    )
    pair.add_argument(
        "--difficulty", type=float, metavar="V", help="variance of questions' hardness, 0: all alike (default: 0.75)"
    )
    pair.add_argument("--from", dest="folder", type=Path, metavar="DIR", help="what `trim fit pomdp` wrote, instead")
    judge = plan.add_argument_group("the process reward model")
    judge.add_argument(
        "--prm-quality", type=float, metavar="P", help="P(a score lies on the right side of 0.5) (default: 0.9)"
    )
    judge.add_argument("--prm-scores", type=Path, metavar="FILE", help="measured: JSON of [min, score] points by state")
    task = plan.add_argument_group("the task")
    task.add_argument("--steps", type=float, metavar="N", help="mean steps of a solution (default: 8)")
    task.add_argument("--step-tokens", type=float, metavar="N", help="mean tokens of a step (default: 60)")
    prices = plan.add_argument_group("prices, per million tokens")
    for role, words in (("weak", "written"), ("strong", "written"), ("prm", "read")):
        prices.add_argument(
            f"--{role}-price", type=float, metavar="X", help=f"of a token {words} (default: --config's)"
        )
    prices.add_argument("--config", type=Path, metavar="trim.toml", help="take the prices from a configuration file")
    plan.add_argument("--questions", type=count, default=500, help="simulated questions (default: 500)")
    plan.add_argument("--seed", type=int, default=0)
    plan.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    plan.add_argument("--resume", action="store_true", help="continue an interrupted plan")
    plan.add_argument("--json", action="store_true", help="print results.json instead of a table")
    quiet_option(plan)
    plan.set_defaults(run=_plan, resumable=True)


def _simulation(args: argparse.Namespace) -> Simulation:
    """What the options describe, or what a saved policy was fitted to."""
    from trim.experiments.forecast import Pair, Simulation, Skill

    given = {name: value for name in (*_MEASURED, "difficulty") if (value := getattr(args, name)) is not None}
    if args.folder is None:
        weak, strong = Skill(args.weak_accuracy, args.weak_solves), Skill(args.strong_accuracy, args.strong_solves)
        return Pair(weak, strong, **given).simulation()
    if known := next((name for name in (*_SKILLS, *_MEASURED) if getattr(args, name) is not None), None):
        raise ConfigError(f"--{known.replace('_', '-')} and --from: the fit has measured that, leave one of them out")
    return Simulation.of_fit(args.folder, **given)


def _prices(args: argparse.Namespace) -> Prices:
    """Those of the configuration, with the ones that were given instead."""
    from trim.config.loading import load_config
    from trim.config.resolution import resolve

    known = resolve(load_config(args.config)).prices
    given = {role: price for role in ("weak", "strong", "prm") if (price := getattr(args, f"{role}_price")) is not None}
    if any(not 0 <= price < math.inf for price in given.values()):
        raise ConfigError("a price must be a number from 0")
    return replace(
        known,
        **{role: Price(price, 0.0) if role == "prm" else Price(0.0, price) for role, price in given.items()},
    )


async def _plan(args: argparse.Namespace) -> int:
    from trim.experiments.forecast import conclusion, forecast
    from trim.reporting.console import console
    from trim.reporting.frontier_plot import frontier
    from trim.reporting.png import write_png
    from trim.reporting.tables import points_table

    run = await forecast(
        _simulation(args),
        args.out,
        prices=_prices(args),
        questions=args.questions,
        seed=args.seed,
        resume=args.resume,
        bar=bar_of(args),
    )
    found, title = run.operating_points(), f"simulated, {args.questions} questions"
    write_png(frontier(found, title), args.out / "frontier.png")
    if args.json:
        print((args.out / "results.json").read_text("utf-8"), end="")
        return 0
    screen = console()
    screen.print(points_table(found, f"{title}, means per question"))
    screen.print(f"[bold]{conclusion(found)}[/bold]")
    screen.print(f"Look at it: {(args.out / 'frontier.png').resolve()}", soft_wrap=True)
    return 0
