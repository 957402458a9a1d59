"""`trim calibrate`: from a wanted share, accuracy or cost to a policy's parameter."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from trim.policies.registry import listing

if TYPE_CHECKING:
    from trim.experiments.parameter_calibration import SavedCalibration

_DESCRIPTION = """\
Interpolates between the operating points of an evaluation, gives the
parameter's confidence interval, and checks itself on other questions.

example:
  trim calibrate --policy threshold --traces trim-eval --strong-share 0.2 \\
      --out threshold.json
"""


def register(calibrate: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    calibrate.description = _DESCRIPTION
    calibrate.add_argument("--policy", required=True, help=listing(lambda family: family.tunable))
    calibrate.add_argument("--traces", type=Path, required=True, metavar="DIR", help="what `trim eval --out` wrote")
    target = calibrate.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--strong-share", type=float, metavar="X", help="strong tokens over those of the strong model alone"
    )
    target.add_argument("--accuracy", type=float, metavar="X", help="share of right answers")
    target.add_argument("--cost", type=float, metavar="X", help="per question, in dollars")
    calibrate.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    calibrate.add_argument("--json", action="store_true", help="print the file instead of text")
    calibrate.set_defaults(run=_calibrate)


async def _calibrate(args: argparse.Namespace) -> int:
    from trim.experiments.parameter_calibration import KINDS, Target, calibrate_run
    from trim.policies import PolicySpec

    target = next(Target(kind, value) for kind in KINDS if (value := getattr(args, kind)) is not None)
    found = calibrate_run(args.traces, PolicySpec.parse(args.policy), target)
    found.save(args.out)
    print(json.dumps(found.to_json()) if args.json else _words(found, args.policy, args.out))
    return 0


def _words(saved: SavedCalibration, policy: str, path: Path) -> str:
    from trim.reporting.money import dollars

    target, parameter, expected = saved.found.target, saved.found.parameter, saved.found.expected
    held_out, realised = saved.found.held_out, saved.found.held_out.realised
    kind = target.kind.replace("_", " ")
    share = "" if expected.strong_share is None else f", strong share {expected.strong_share:.1%}"
    return (
        f"{kind} {target.value:g}: --policy {path}, which is {policy} at {parameter.value:.4g} (95% CI "
        f"{parameter.low:.4g} to {parameter.high:.4g}, {parameter.count} questions)\n"
        f"expected there: accuracy {expected.accuracy:.1%}{share}, {dollars(expected.cost)} a question\n"
        f"held out: found on half of the questions ({held_out.parameter:.4g}), the other {realised.count} have "
        f"{kind} {realised.value:.4g} (95% CI {realised.low:.4g} to {realised.high:.4g})"
    )
