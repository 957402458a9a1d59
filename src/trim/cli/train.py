"""`trim train agg|seq`: learn a policy from a simulator, the embedded pair or configured servers."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.cli.options import DEFAULT, accept_option, config_option, configured, named
from trim.cli.run_options import bar_of, preview_words, run_options
from trim.errors import ConfigError
from trim.policies.registry import saved_by
from trim.training.trackers import TRACKERS
from trim.types import Action

if TYPE_CHECKING:
    from trim.policies.learned.features import PriceRange

_SIZES = ("episodes", "batch", "questions", "validation")
_DESCRIPTION = """\
Trains by PPO on solutions that the policy routes itself, and writes
policy.json and arrays.npz (the best on held-out questions), metrics.jsonl,
curves.png and a checkpoint. One network serves every price in the range. Kill
it and start it again with --resume: the result is that of a run that was never
killed. Needs the train extra.

sources:
  simulate   simulated models: the textbook pair, or what `trim fit pomdp`
             measured (--from DIR). Minutes.
  embedded   the shipped pair (--task)
  config     the models of --config, or of --weak, --strong and --judge

examples:
  trim train agg --source simulate --out policies/agg
  trim train seq --source embedded --task gsm_symbolic --out policies/seq
  trim train agg --source embedded --start policies/agg \\
      --out policies/agg-embedded            after the simulator
  trim eval --out compare \\
      --policies always-weak,always-strong,agg=policies/agg-embedded
"""


def register(train: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    train.description = _DESCRIPTION
    train.add_argument(
        "kind", choices=saved_by("trim train"), help="agg reads a few figures, seq the scores of all steps"
    )
    train.add_argument(
        "--source",
        choices=("simulate", "embedded", "config"),
        help="default: config if a configuration or models are named, else simulate",
    )
    train.add_argument("--from", dest="fit", type=Path, metavar="DIR", help="simulate: what `trim fit pomdp` wrote")
    config_option(train, "config: models and limits")
    train.add_argument("--task", default="gsm_symbolic", help="a family, or a JSONL file (default: gsm_symbolic)")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the policy")
    train.add_argument("--resume", action="store_true", help="continue an interrupted training")
    accept_option(train)
    train.add_argument("--start", type=Path, metavar="DIR", help="begin with the network of another training")
    train.add_argument(
        "--price", type=_prices, metavar="LO:HI", help="of a strong token (default: a step costs 0.002 to 0.5 answers)"
    )
    train.add_argument(
        "--actions",
        type=_actions,
        default=(Action.CONTINUE, Action.REGENERATE),
        metavar="A,B,...",
        help="of CONTINUE, REGENERATE, RESAMPLE, TAKE_OVER (default: the first two)",
    )
    train.add_argument(
        "--weak-price", type=float, default=0.0, metavar="X", help="of a weak token, in strong tokens (default: 0)"
    )
    train.add_argument("--episodes", type=int, help="solutions to learn from (default: 50000 simulated, 6000 real)")
    train.add_argument("--batch", type=int, help="solutions an update (default: 256 simulated, 128 real)")
    train.add_argument(
        "--questions", type=int, help="distinct ones (default: 50000 simulated, 2000 real or what there is)"
    )
    train.add_argument("--validation", type=int, help="held-out questions (default: 400 simulated, 100 real)")
    train.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep every step and score in DIR and request none twice: further trainings with the same seed and "
        "questions share them",
    )
    train.add_argument("--concurrency", type=int, default=64, help="questions at the same time (default: 64)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--track",
        choices=TRACKERS,
        help="log there too; needs the package of that name",
    )
    train.add_argument("--json", action="store_true", help="print what was reached as JSON")
    run_options(train)
    train.set_defaults(run=_train, resumable=True)


def _prices(text: str) -> PriceRange:
    from trim.policies.learned.features import PriceRange

    low, _, high = text.partition(":")
    try:
        return PriceRange(float(low), float(high or low))
    except (ValueError, ConfigError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of prices such as 1e-4:1e-2") from None


def _actions(text: str) -> tuple[Action, ...]:
    names = [part.strip().upper().replace("-", "_") for part in text.split(",")]
    if "RETRY" in names:
        raise argparse.ArgumentTypeError("RETRY is called RESAMPLE now")
    try:
        found = tuple(map(Action, names))
    except ValueError:
        found = ()
    if Action.CONTINUE not in found or len(found) < 2 or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r}: name CONTINUE and others of {', '.join(Action)}")
    return tuple(action for action in Action if action in found)


async def _train(args: argparse.Namespace) -> int:
    from trim.experiments.policy_training import (
        SIMULATED,
        SourceName,
        TrainingPlan,
        real_sizes,
        train_policy,
        training_preview,
    )
    from trim.reporting.png import write_png
    from trim.reporting.training_plots import best, curves, read_metrics

    given = {name: value for name in _SIZES if (value := getattr(args, name)) is not None}
    config = configured(args) if args.source == "config" and DEFAULT.is_file() else named(args)
    source: SourceName = args.source or ("simulate" if config is None else "config")
    sizes = SIMULATED if source == "simulate" else real_sizes(args.task)
    plan = TrainingPlan(
        args.kind,
        source,
        replace(sizes, **given),
        fit=args.fit,
        config=config,
        task=args.task,
        record=args.record,
        start=args.start,
        prices=args.price,
        actions=args.actions,
        weak_price=args.weak_price,
        seed=args.seed,
        concurrency=args.concurrency,
        accept=args.accept,
        max_cost=args.max_cost,
    )
    if args.dry_run:
        print(preview_words(training_preview(plan, args.out)))
        return 0
    alone = await train_policy(plan, args.out, resume=args.resume, tracker=args.track, bar=bar_of(args))
    rows = read_metrics(args.out / "metrics.jsonl")
    write_png(curves(rows, alone.tokens), args.out / "curves.png")
    reached = best(rows)
    if args.json:
        print(json.dumps({"strong_alone": asdict(alone), **reached}))
        return 0
    print(f"best after {reached['episodes']} episodes, on {plan.sizes.validation} held-out questions:")
    checked = reached["validation"]
    for price, accuracy, tokens in zip(checked["prices"], checked["accuracy"], checked["strong_tokens"], strict=True):
        print(f"  price {price:<8.2g} {accuracy:6.1%} right with {tokens / alone.tokens:6.1%} of the strong tokens")
    print(f"Use it: trim eval --policies always-weak,always-strong,threshold,{args.kind}={args.out} --out compare")
    print(f"Look at it: {(args.out / 'curves.png').resolve()}")
    return 0
