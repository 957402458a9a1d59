"""Policies side by side: accuracy at equal strong share against threshold, CPT95, and the total cost.

    python -m benchmarks.compare RUN [--with RUN[=NAME] ...] [--reference POLICY] [--shares 10,20,30]

RUN is a folder of trim eval with always-weak, always-strong and the reference (threshold); --with adds the policies of
other runs on the same questions and models, with NAME appended to their names. Prints one line per policy: accuracy at
10, 20 and 30% strong share, its paired difference to the reference there, or at --shares, in points with a 95%
interval, the strong share that recovers 95% of the gap (CPT95), and the least total cost that does, as a share of
always-strong's, where a strong token costs 5, 20 or 100 weak ones. The total cost counts weak, discarded and PRM tokens
and prompts; a prompt token costs a quarter of a completion token and a tenth of that where cached; the PRM reads at
the weak model's price. Between operating points policies are mixed. null: not reached.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trim.experiments.run import Run, Settings
from trim.metrics.curve_summary import ENDS, summarise
from trim.metrics.curves import by_share, reach
from trim.metrics.matched_share import matched_difference
from trim.metrics.tally import Tally, common_questions, question_means
from trim.traces import read_traces
from trim.types import Price, Prices

RATIOS = (5, 20, 100)
GOAL = 0.95

Key = tuple[str, float | None]
Costs = dict[Key, dict[str, list[float]]]
"""By operating point and question."""


def prices(ratio: float) -> Prices:
    """Prices at which a million strong completion tokens cost 1, and weak ones 1 / ratio."""
    weak = Price(0.25 / ratio, 1 / ratio, 0.025 / ratio)
    return Prices(weak, Price(0.25, 1.0, 0.025), Price(weak.prompt))


def total_costs(folder: Path) -> dict[int, Costs]:
    """The total cost of each solution by ratio, operating point and question."""
    found: dict[int, Costs] = {ratio: {} for ratio in RATIOS}
    for trace in read_traces(folder / "traces.jsonl"):
        for ratio in RATIOS:
            point = found[ratio].setdefault((trace.policy, trace.parameter), {})
            point.setdefault(trace.question.id, []).append(prices(ratio).of(trace.usage) or 0.0)
    return found


def least_total_cost(
    points: Mapping[Key, Tally], policy: str, costs: Mapping[Key, Mapping[str, list[float]]]
) -> float | None:
    """The least mean total cost that recovers the goal, over always-strong's; mixtures of neighbours included."""
    keys = [*ENDS, *(key for key in points if key[0] == policy and key not in ENDS)]
    tallies = [points[key] for key in keys]
    questions = common_questions(tallies)
    cost = np.array([[np.mean([np.mean(costs[key][question]) for question in questions]) for key in keys]])
    right = question_means(tallies, questions)[:, 0].mean(axis=1)[None]
    chosen = [0, *range(2, len(keys))]
    pgr = (right - right[:, :1]) / (right[:, 1:2] - right[:, :1])
    least = float(reach(by_share(cost[:, chosen] / cost[:, 1:2], pgr[:, chosen]), GOAL)[0])
    return round(least, 3) if np.isfinite(least) else None


def read(settings: Settings, runs: Mapping[Path, str]) -> tuple[dict[Key, Tally], dict[int, Costs]]:
    """Results and total costs of runs by operating point; their names follow the policies'."""
    points: dict[Key, Tally] = {}
    by_ratio: dict[int, Costs] = {ratio: {} for ratio in RATIOS}
    for run, name in runs.items():
        mine = Settings.read(run)
        if (mine.task, mine.questions, mine.seed, mine.models) != (
            settings.task, settings.questions, settings.seed, settings.models,
        ):  # fmt: skip
            sys.exit(f"{run} has other questions or models than the first run")

        def key(policy: str, parameter: float | None, name: str = name) -> Key:
            return (f"{policy} {name}".strip(), parameter)

        tallies = Run(run, mine, resume=True).tallies
        points |= {key(*old): tally for old, tally in tallies.items()}
        for ratio, found in total_costs(run).items():
            by_ratio[ratio] |= {key(*old): costs for old, costs in found.items()}
    return points, by_ratio


def compare(folder: Path, others: Mapping[Path, str], reference_name: str, shares: Sequence[float]) -> None:
    """Print the lines."""
    settings = Settings.read(folder)
    points, by_ratio = read(settings, {folder: "", **others})
    weak, strong = (points[end] for end in ENDS)
    ends = {"weak": round(100 * np.mean(weak.right), 1), "strong": round(100 * np.mean(strong.right), 1)}
    print(json.dumps({"task": settings.task, "questions": settings.questions, "prm": settings.models["prm"], **ends}))
    reference = [points[key] for key in points if key[0] == reference_name]
    for summary in summarise(points):
        mine = [points[key] for key in points if key[0] == summary.policy]
        cpt = summary.cpt[95]
        line: dict[str, object] = {"policy": summary.policy, "points": len(mine)}
        budgets = summary.budgeted_accuracy
        line["accuracy"] = {share: round(100 * (budgets[share].value or 0.0), 1) for share in (10, 20, 30)}
        if summary.policy != reference_name and reference:
            differences = {
                share: matched_difference(mine, reference, share / 100, weak=weak, strong=strong) for share in shares
            }
            line[f"over_{reference_name}"] = {
                share: [round(100 * value, 1) for value in (d.value, d.low, d.high)] for share, d in differences.items()
            }
        line["cpt95"] = [None if value is None else round(value, 3) for value in (cpt.json_value, *cpt.json_interval)]
        line["least_total_cost"] = {
            f"1:{ratio}": least_total_cost(points, summary.policy, by_ratio[ratio]) for ratio in RATIOS
        }
        print(json.dumps(line))


def main() -> None:
    """The runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--with", action="append", default=[], dest="others", metavar="RUN[=NAME]")
    parser.add_argument("--reference", default="threshold", metavar="POLICY")
    parser.add_argument("--shares", default="10,20,30", help="strong shares for the differences, in percent")
    args = parser.parse_args()
    others = {Path(folder): name for folder, _, name in (text.partition("=") for text in args.others)}
    compare(args.run, others, args.reference, [float(share) for share in args.shares.split(",")])


if __name__ == "__main__":
    main()
