"""Memory of a run as the number of questions grows: the run and its report, on simulated models.

    python -m benchmarks.memory [QUESTIONS ...]        default: 1,000, 10,000 and 100,000

Each size in a process of its own: always-weak, always-strong and threshold 0.5 on simulated models, with traces,
results.json (2,000 resamples), frontier.png and report.html in a temporary folder, as `trim eval` does it. Prints the
peak resident memory after the run and after the report, in MiB.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from trim.experiments.run import Point, Run, Settings
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.reporting.run_report import write_run
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm, even_lengths
from trim.tasks.simulated import TASK
from trim.types import Role

SIZES = (1_000, 10_000, 100_000)
STEPS = even_lengths(3)  # short solutions: traces are on the disk anyway


def peak() -> float:
    """Peak resident memory of this process, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure(questions: int, folder: Path) -> dict[str, object]:
    """One run with its report."""
    weak, strong = SimulatedModel(Role.WEAK, 0.8, STEPS), SimulatedModel(Role.STRONG, 0.98, STEPS)
    points = [
        Point(policy.name, policy.parameter, Router(weak, strong, SimulatedPrm(0.9), policy))
        for policy in (AlwaysWeak(), AlwaysStrong(), Threshold(0.5))
    ]
    started, names = time.process_time(), {"weak": "simulated", "strong": "simulated", "prm": "simulated"}
    run = Run(folder, Settings(TASK.name, questions, 0, names, {}))
    asyncio.run(run.add(points, TASK.stream(questions, 0), TASK))
    solved = peak()
    write_run(run)
    return {
        "questions": questions,
        "solutions": questions * len(points),
        "traces_mib": round(run.traces.stat().st_size / 2**20, 1),
        "peak_after_run": solved,
        "peak_after_report": peak(),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Measure every size in a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        with TemporaryDirectory() as folder:
            print(json.dumps(measure(int(sys.argv[2]), Path(folder))))
        return
    for size in sys.argv[1:] or map(str, SIZES):
        subprocess.run([sys.executable, "-m", "benchmarks.memory", "--one", size], check=True)


if __name__ == "__main__":
    main()
