"""How likely real models find the steps of solutions that people have labelled: the data of the generic judge.

    python -m recipes.real.step_features PROCESSBENCH MODEL.gguf --name NAME [--seconds 200]

PROCESSBENCH is a folder with `gsm8k.jsonl` and `math.jsonl` of ProcessBench (Zheng et al., arXiv 2412.06559, Apache
2.0): solutions of many models with the index of the first wrong step. Each solution is read by the model up to that
step, in a random order that is the same for every model. One row a step goes to `step_features.csv`; a run goes on
where the last one stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from recipes.real.given_text import TOP, GivenText

TABLE = Path(__file__).with_name("step_features.csv")
_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
_MOST = {"gsm8k": 400, "math": 400}  # solutions; GSM8K is read first to two thirds


@dataclass(frozen=True, slots=True)
class Row:
    """A step that a model has read.

    Args:
        model: the reader.
        solution: its id in ProcessBench.
        index: of the step, from 0.
        correct: 0 for the first wrong step; later ones have no label and no row.
        last: 1 for the last step of the solution.
        tokens: of the step and the separator behind it.
        mean, least: log-probability (nats) of these tokens, and of the least likely one.
        mean_entropy, most_entropy, first_entropy: of the distributions that they stand in (nats), over the tokens, of
            the most uncertain, and of the first.
        uncertain: share of the tokens whose entropy is above 1 nat.
        mean_top5, most_top5, uncertain_top5: the same from the 5 likeliest tokens alone, all others counted as one.
        mean_top20, most_top20, uncertain_top20: from the 20 likeliest.
    """

    model: str
    solution: str
    index: int
    correct: int
    last: int
    tokens: int
    mean: float
    least: float
    mean_entropy: float
    most_entropy: float
    first_entropy: float
    uncertain: float
    mean_top5: float
    most_top5: float
    uncertain_top5: float
    mean_top20: float
    most_top20: float
    uncertain_top20: float


def solutions(folder: Path) -> list[dict[str, Any]]:
    """Labelled solutions, two of GSM8K and one of MATH in turn, each set in random order."""
    sets = []
    for name, most in _MOST.items():
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
        random.Random(0).shuffle(rows)
        sets.append(rows[:most])
    first, second = sets
    mixed = [row for i, one in enumerate(second) for row in (*first[2 * i : 2 * i + 2], one)]
    return mixed + first[2 * len(second) :]


def read(model: GivenText, name: str, solution: dict[str, Any]) -> list[Row]:
    """The rows of a solution; none where it does not fit the context."""
    label = int(solution["label"])
    steps: list[str] = solution["steps"]
    labelled = steps if label < 0 else steps[: label + 1]
    head = f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n{solution['problem']}<|im_end|>\n"
    ids = model.tokens(f"{head}<|im_start|>assistant\n", special=True)
    start, ends = len(ids), []
    for index, step in enumerate(labelled):
        ids += model.tokens(step if index + 1 == len(steps) else f"{step}\n\n")
        ends.append(len(ids))
    if len(ids) > model.context:
        return []
    tokens = model.read(ids, start)
    rows = []
    for index, (begin, end) in enumerate(zip([start, *ends], ends, strict=False)):
        own = tokens[begin - start : end - start]
        logprobs, entropies = [token.logprob for token in own], [token.entropy for token in own]
        numbers = [_mean(logprobs), min(logprobs), _mean(entropies), max(entropies)]
        numbers += [entropies[0], _uncertain(entropies)]
        for k in TOP:
            known = [token.top_entropies[k] for token in own]
            numbers += [_mean(known), max(known), _uncertain(known)]
        rounded = (round(number, 4) for number in numbers)
        last = int(index + 1 == len(steps))
        rows.append(Row(name, solution["id"], index, int(index != label), last, len(own), *rounded))
    return rows


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _uncertain(entropies: list[float]) -> float:
    return _mean([float(entropy > 1.0) for entropy in entropies])


def load(table: Path = TABLE) -> list[Row]:
    """The rows of a table."""
    with table.open(newline="") as file:
        kinds = {"str": str, "int": int, "float": float}
        made = [{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Row)} for row in csv.DictReader(file)]
    return [Row(**row) for row in made]


def main() -> None:
    """Read until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processbench", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True, help="of the model in the table")
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--threads", type=int, default=1, help="those of a busy machine wait for each other")
    parser.add_argument("--table", type=Path, default=TABLE)
    args = parser.parse_args()
    known = {(row.model, row.solution) for row in load(args.table)} if args.table.exists() else set()
    model = GivenText(args.model, threads=args.threads)
    started = time.perf_counter()
    with args.table.open("a", newline="") as file:
        table = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        if not known:
            table.writeheader()
        for solution in solutions(args.processbench):
            if time.perf_counter() - started > args.seconds:
                break
            if (args.name, solution["id"]) not in known:
                table.writerows(map(asdict, read(model, args.name, solution)))
                file.flush()


if __name__ == "__main__":
    main()
