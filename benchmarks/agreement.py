"""Whether two evaluations of the same questions agree: paired differences in accuracy, point by point.

    trim eval --task gsm_symbolic --questions 150 --config examples/vllm.toml --out trim-eval-vllm
    trim eval --task gsm_symbolic --questions 150 --out trim-eval-embedded
    python -m benchmarks.agreement trim-eval-vllm trim-eval-embedded

Prints, for every operating point that both have, the accuracy in each folder and the mean difference with its 95%
interval (bootstrap over questions). Samples differ between engines, so accuracies agree only up to chance.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trim.metrics.run_comparison import paired_difference
from trim.metrics.tally import Tally
from trim.traces import read_traces

Tallies = dict[tuple[str, float | None], Tally]


def read(folder: Path) -> Tallies:
    """The tallies of a run by policy and parameter."""
    found: Tallies = {}
    for trace in read_traces(folder / "traces.jsonl"):
        found.setdefault((trace.policy, trace.parameter), Tally()).add(trace)
    return found


def accuracy(counted: Tally) -> float:
    """Share of right answers."""
    return sum(counted.right) / len(counted.right)


def main() -> None:
    """Compare and print."""
    first, second = read(Path(sys.argv[1])), read(Path(sys.argv[2]))
    for point in first.keys() & second.keys():
        difference = paired_difference(first[point], second[point])
        row = {
            "policy": point[0],
            "parameter": point[1],
            "first": round(accuracy(first[point]), 3),
            "second": round(accuracy(second[point]), 3),
            "difference": round(difference.value, 3),
            "interval": [round(difference.low, 3), round(difference.high, 3)],
            "agree": difference.low <= 0 <= difference.high,
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
