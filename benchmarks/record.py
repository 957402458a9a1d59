"""What a record saves: the same evaluation with `--record` and without, in turn.

    python -m benchmarks.record --questions 100

A sweep of threshold, agg and pomdp on the shipped models' word problems. Prints CPU seconds of both, their ratio, and
whether both gave the same results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from trim.cli.main import main as trim

_SWEEP = "threshold=0.02,0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95"


def run(out: Path, questions: int, *options: str) -> tuple[float, list[tuple[object, ...]]]:
    """CPU seconds, and accuracy and strong tokens of each operating point."""
    started = time.process_time()
    command = ["eval", "--task", "gsm_symbolic", "--policies", "threshold,agg,pomdp", "--parameters", _SWEEP]
    if code := trim([*command, "--questions", str(questions), "--out", str(out), *options]):
        raise SystemExit(code)
    seconds = time.process_time() - started
    points = json.loads((out / "results.json").read_text())["operating_points"]
    return seconds, [(p["policy"], p["parameter"], p["accuracy"], p["strong_tokens"]) for p in points]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorded, points = run(folder / "recorded", args.questions, "--record", str(folder / "record"))
        plain, again = run(folder / "plain", args.questions)
    found = {"points": len(points), "questions": args.questions, "same": points == again}
    print(json.dumps(found | {"recorded": round(recorded, 1), "plain": round(plain, 1), "ratio": recorded / plain}))


if __name__ == "__main__":
    main()
