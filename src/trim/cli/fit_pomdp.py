"""`trim fit pomdp`: a POMDP policy from recorded traces."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from trim.cli.options import config_option, named
from trim.cli.run_options import preview_words, run_options, without_models

_DESCRIPTION = """\
Estimates everything that planning needs from traces of your own pair and
writes the policy.

example:
  trim eval --task gsm_symbolic --policies random --parameters random=0.5 \\
      --questions 500 --score --out runs
  trim fit pomdp runs --out fits/gsm
  trim eval --task gsm_symbolic --policies threshold,pomdp=fits/gsm \\
      --seed 901000 --out compare
"""


def register(pomdp: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    pomdp.description = _DESCRIPTION
    pomdp.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="folders of trim eval, or trace files")
    pomdp.add_argument("--task", help="whose rule labels the steps (default: the one that the traces were recorded on)")
    pomdp.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the policy and plots")
    pomdp.add_argument(
        "--labels",
        choices=("rule", "prm"),
        default="rule",
        help="rule of the task (default), or the paper's PRM shortcut",
    )
    pomdp.add_argument(
        "--observation",
        type=Path,
        metavar="FILE",
        help="scores by state from here: points (.json), or ProcessBench (.jsonl), scored by the configured PRM",
    )
    pomdp.add_argument("--price", type=float, help="saved as the default (default: a step costs 0.05 correct answers)")
    config_option(pomdp, "models of traces without a run.json; the PRM for --observation; prices for --total-cost")
    pomdp.add_argument(
        "--total-cost",
        action="store_true",
        help="plan for the total cost: weak, PRM and prompt tokens at the prices set",
    )
    pomdp.add_argument("--json", action="store_true", help="print the estimates as JSON")
    run_options(pomdp)
    pomdp.set_defaults(run=_fit)


async def _fit(args: argparse.Namespace) -> int:
    from trim.experiments.folder_owner import owned
    from trim.experiments.pomdp_fit import fit_pomdp, observation_preview
    from trim.experiments.recorded_runs import Recorded
    from trim.reporting.console import console
    from trim.reporting.pomdp_plots import write_fit_plots
    from trim.reporting.tables import fit_table

    config = named(args)
    if args.dry_run:
        found = observation_preview(args.observation, config)
        count = len(Recorded.of(args.traces).files)
        words = f"fit a policy to {count} trace file{'s' if count > 1 else ''}"
        print(without_models(words) if found is None else preview_words(found))
        return 0
    with owned(args.out):
        fitted = await fit_pomdp(
            Recorded.of(args.traces),
            task=args.task,
            labels=args.labels,
            observation=args.observation,
            config=config,
            price=args.price,
            total_cost=args.total_cost,
            max_cost=args.max_cost,
        )
        fitted.save(args.out)
        plots = write_fit_plots(fitted.policy, fitted.estimates, args.out)
    if args.json:
        print(json.dumps(fitted.to_json()))
        return 0
    screen = console()
    screen.print(fit_table(fitted.estimates, fitted.provenance.task))
    if args.total_cost:
        cost = fitted.cost_model
        costs = f"a draft and its score {cost.per_draft:.2f}, a strong step {cost.per_strong_step:.2f}"
        screen.print(f"besides, in strong tokens: {costs}", soft_wrap=True)
    files = ", ".join(("policy.json", "arrays.npz", "fit.json", *plots))
    screen.print(f"Saved with a price of {fitted.policy.price:g} in {args.out}: {files}", soft_wrap=True)
    return 0
