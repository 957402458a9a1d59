"""Which questions the shipped models were made for: collects what is known of them, and measures the test.

    python -m benchmarks.shipped_questions --write             collect from the training seeds, then measure
    python -m benchmarks.shipped_questions FILE.jsonl ...      measure; files of other questions beside it

Prints for each kind the share of questions that are called foreign: false alarms below 1% for the three tasks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trim.tasks import load_task
from trim.tasks.shipped_questions import BITS, UNKNOWN_PAIRS, pairs, unknown_share

TASKS = ("gsm_symbolic", "arithmetic_chain", "string_rewriting")
FILE = Path(__file__).parents[1] / "src/trim/tasks/shipped_questions.npz"


def collect(count: int, seed: int) -> NDArray[np.bool_]:
    """The pairs of so many questions of each task."""
    known = np.zeros(BITS, bool)
    for task in TASKS:
        for question in load_task(task).stream(count, seed):
            known[pairs(question.text)] = True
    return known


def report(name: str, texts: list[str], known: NDArray[np.bool_]) -> None:
    """One line of figures."""
    shares = np.array([unknown_share(text, known) for text in texts])
    low, middle, high = np.percentile(shares, (1, 50, 99))
    foreign = float((shares > UNKNOWN_PAIRS).mean())
    print(f"{name:24} {len(texts):6} {low:8.3f} {middle:8.3f} {high:8.3f} {foreign:9.1%}")


def main() -> None:
    """Collect, if asked to, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--questions", type=int, default=12_000)
    args = parser.parse_args()
    if args.write:
        np.savez_compressed(FILE, pairs=np.packbits(collect(args.questions, 50_000_000)))
    with np.load(FILE, allow_pickle=False) as stored:
        known = np.unpackbits(stored["pairs"]).astype(bool)
    print(f"{known.mean():.1%} of the table is used; unknown pairs at 1%, 50%, 99% of the questions; called foreign")
    for task in TASKS:
        report(task, [question.text for question in load_task(task).stream(2_000, 900_000)], known)
    for file in args.files:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        report(file.stem, [row.get("question") or row["problem"] for row in rows], known)


if __name__ == "__main__":
    main()
