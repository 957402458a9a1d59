"""`trim plan`: the accuracy-cost frontier of every policy, predicted by simulation before anyone pays for a run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli.options import Commands
from trim.config.loading import load_config
from trim.config.specs import resolve
from trim.errors import ConfigError
from trim.policies import PolicySpec, open_sweep
from trim.types import Price, Prices

if TYPE_CHECKING:
    from trim.experiments.run import Point
    from trim.metrics.operating_point import OperatingPoint
    from trim.policies.pomdp import PomdpPolicy
    from trim.simulation.pomdp_world import World

_GOAL = 0.8  # part of the gap that the sentence is about
_MOST_STEPS = 30
_DEFAULTS = {"prm_quality": 0.9, "steps": 8.0, "step_tokens": 60.0, "difficulty": 0.75}
_MEASURED = (
    *("weak_accuracy", "weak_solves", "strong_accuracy", "strong_solves", "repair_accuracy"),
    *("prm_quality", "prm_scores", "steps", "step_tokens"),
)
_SPREAD = 0.5  # of a step's tokens, relative
_DESCRIPTION = """\
Predicts accuracy and strong tokens of always-weak, always-strong, random, threshold and pomdp for a pair of models that
you describe: simulated models and a simulated PRM solve simulated questions through the same Router as real ones. No
server is asked, no key is needed. Writes run.json, traces.jsonl, results.json and frontier.png.

Say how good the models are, by step or by question: a weak model that gets each step right with 0.87 solves about 37%
of questions of 8 steps; --weak-solves 0.37 says the same. Prompt tokens are left out of the costs.

examples:
  trim plan --weak-solves 0.38 --strong-solves 0.77 --out plan
  trim plan --weak-accuracy 0.87 --strong-accuracy 0.97 --prm-quality 0.95 --steps 12 --step-tokens 80 --out plan
  trim plan --weak-solves 0.5 --strong-solves 0.9 --strong-price 15 --weak-price 0.1 --out plan --json
  trim plan --from fits/gsm --out plan             a pair that `trim fit pomdp` has measured
"""


def register(commands: Commands) -> None:
    """Add the command."""
    plan = commands.add_parser(
        "plan",
        help="predict what routing would cost and solve, before any run",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    plan.add_argument("--questions", type=int, default=500, help="simulated questions (default: 500)")
    plan.add_argument("--seed", type=int, default=0)
    plan.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    plan.add_argument("--resume", action="store_true", help="go on with a plan that was interrupted")
    plan.add_argument("--json", action="store_true", help="print results.json instead of a table")
    plan.set_defaults(run=_plan, command="plan")


@dataclass(frozen=True)
class _Simulation:
    """The pair and its judge, and a planner that knows them."""

    world: World
    planner: PomdpPolicy


def _simulation(args: argparse.Namespace) -> _Simulation:
    """What the options describe, or what a saved policy was fitted to."""
    from trim.simulation.pomdp_world import World

    planner, ends = _fitted(args) if args.folder else _described(args)
    difficulty = args.difficulty
    if difficulty is None:
        difficulty = 0.0 if args.folder else _DEFAULTS["difficulty"]
    return _Simulation(World.of(planner.model, ends, spread=_SPREAD, difficulty=difficulty), planner)


def _described(args: argparse.Namespace) -> tuple[PomdpPolicy, tuple[float, ...]]:
    """A planner, and P(last step | it is reached) by step."""
    from trim.policies.pomdp import PomdpPolicy
    from trim.pomdp import PomdpModel, quantile_bins, read_points
    from trim.simulation import gamma_lengths, graded

    quality, steps, tokens = (
        _DEFAULTS[name] if getattr(args, name) is None else getattr(args, name)
        for name in ("prm_quality", "steps", "step_tokens")
    )
    if not 1 <= steps <= _MOST_STEPS:
        raise ConfigError(f"--steps must lie between 1 and {_MOST_STEPS}, not {steps}")
    ends = gamma_lengths(steps, _MOST_STEPS)
    weak, strong = (_step_accuracy(args, role, ends) for role in ("weak", "strong"))
    repair = args.repair_accuracy
    if repair is None:
        repair = 1 - (1 - strong) / (1 - weak) if strong > weak else 0.0
    scores = quantile_bins(read_points(args.prm_scores)) if args.prm_scores else graded(quality)
    return PomdpPolicy(PomdpModel(weak, strong, ends[1:], scores, tokens, repair), 0.0), ends


def _step_accuracy(args: argparse.Namespace, role: str, ends: tuple[float, ...]) -> float:
    from trim.simulation import constant_accuracy

    by_step, by_question = getattr(args, f"{role}_accuracy"), getattr(args, f"{role}_solves")
    if by_question is not None:
        return constant_accuracy(by_question, ends)
    if by_step is None:
        raise ConfigError(
            f"how good is the {role} model? Say --{role}-solves 0.5, --{role}-accuracy 0.9, or --from DIR"
        )
    return float(by_step)


def _fitted(args: argparse.Namespace) -> tuple[PomdpPolicy, tuple[float, ...]]:
    """The same; a hazard says nothing of the first step."""
    from trim.policies.pomdp import PomdpPolicy

    if given := next((name for name in _MEASURED if getattr(args, name) is not None), None):
        raise ConfigError(f"--{given.replace('_', '-')} and --from: the fit has measured that, leave one of them out")
    planner = PomdpPolicy.load(args.folder)
    return planner, (0.0, *planner.model.hazard)


def _prices(args: argparse.Namespace) -> Prices:
    """Those of the configuration, with the ones that were given instead."""
    known = resolve(load_config(args.config)).prices
    given = {role: getattr(args, f"{role}_price") for role in ("weak", "strong", "prm")}
    if any(price is not None and not 0 <= price < math.inf for price in given.values()):
        raise ConfigError("a price must be a number from 0")
    return replace(
        known,
        **{
            role: Price(price, 0.0) if role == "prm" else Price(0.0, price)
            for role, price in given.items()
            if price is not None
        },
    )


def _points(simulation: _Simulation, prices: Prices) -> list[Point]:
    """Every policy at every parameter, weak and strong first."""
    from trim.experiments.run import Point
    from trim.routing.router import Router

    names = ("always-weak", "always-strong", "random", "threshold")  # they need nothing that a simulation has not
    policies = [policy for name in names for policy in open_sweep(PolicySpec(name))]
    planned = [simulation.planner.at(price) for price in simulation.planner.prices()]
    world = simulation.world
    return [
        Point(
            policy.name,
            policy.parameter,
            Router(world.weak, world.strong, world.prm, policy, prices=prices),
        )
        for policy in (*policies, *planned)
    ]


async def _plan(args: argparse.Namespace) -> int:
    from trim.experiments.run import Run, Settings
    from trim.reporting.console import console, progress
    from trim.reporting.frontier_plot import frontier, save
    from trim.reporting.tables import table
    from trim.tasks.simulated import TASK

    if args.questions < 1:
        raise ConfigError(f"--questions must be at least 1, not {args.questions}")
    simulation, prices, task = _simulation(args), _prices(args), TASK
    run = Run(
        args.out,
        Settings(task.name, args.questions, args.seed, _names(simulation), _numbers(simulation, prices)),
        resume=args.resume,
    )
    points = _points(simulation, prices)
    with progress(len(points) * args.questions) as advance:
        await run.add(
            points,
            task.stream(args.questions, args.seed),
            task,
            progress=lambda point, fresh: advance(point.label),
        )
    results = run.write_results()
    found = run.operating_points()
    save(frontier(found, f"simulated, {args.questions} questions"), args.out / "frontier.png")
    if args.json:
        print(results.read_text(), end="")
        return 0
    screen = console()
    screen.print(table(found, f"simulated, {args.questions} questions, means per question"))
    screen.print(f"[bold]{conclusion(found)}[/bold]")
    screen.print(f"Look at it: {(args.out / 'frontier.png').resolve()}", soft_wrap=True)
    return 0


def _names(simulation: _Simulation) -> dict[str, str]:
    weak, strong, tokens = simulation.world.weak, simulation.world.strong, simulation.world.weak.step_tokens
    return {
        "weak": f"simulated, {weak.step_accuracy:.3f} of steps and {weak.solved_alone:.1%} of questions alone",
        "strong": f"simulated, {strong.step_accuracy:.3f} of steps and {strong.solved_alone:.1%} of questions alone",
        "prm": f"simulated, steps of {tokens:g} tokens",
    }


def _numbers(simulation: _Simulation, prices: Prices) -> dict[str, object]:
    """What decides what comes out."""
    model = simulation.planner.model
    return {
        "repair_accuracy": model.strong_accuracy_if_wrong,
        "difficulty": simulation.world.weak.difficulty,
        "ends": simulation.world.weak.ends,
        "scores": model.observation.mass.round(6).tolist(),
        "prices": asdict(prices),
    }


def conclusion(points: Sequence[OperatingPoint]) -> str:
    """What the plan says, in one sentence."""
    from trim.metrics.operating_point import cheapest

    ends = {point.policy: point for point in points if point.policy.startswith("always-")}
    weak, strong = ends["always-weak"], ends["always-strong"]
    if strong.accuracy <= weak.accuracy:
        return "The strong model alone is no better than the weak one: there is nothing to gain from routing."
    goal = weak.accuracy + _GOAL * (strong.accuracy - weak.accuracy)
    best = {policy: cheapest(points, policy, _GOAL) for policy in ("pomdp", "threshold", "random")}
    needs = [f"{policy} needs {p.strong_share:.0%}" for policy, p in best.items() if p and p.strong_share is not None]
    never = [policy for policy, point in best.items() if point is None]
    routed = f"{', '.join(needs)} of the strong model's tokens" if needs else ""
    missed = f"{' and '.join(never)} can't" if never else ""
    return (
        f"To solve {goal:.0%}, {_GOAL:.0%} of the way from {weak.accuracy:.0%} to {strong.accuracy:.0%}: "
        f"{'; '.join(part for part in (routed, missed) if part)}."
    )
