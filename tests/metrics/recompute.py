"""Every figure of a run's `summary` once more, from `traces.jsonl` alone: `python -m tests.metrics.recompute DIR`.

Standard library only and nothing of TRIM: written from docs/explanation/evaluation.md, to check what TRIM makes of the
same traces. `differences` compares with `results.json`, intervals by the ranks that their ends have among resamples of
its own, which holds for skewed figures and for ends that were not reached alike.
"""

from __future__ import annotations

import json
import math
import random
import sys
from itertools import pairwise
from pathlib import Path

WEAK, STRONG = ("always-weak", None), ("always-strong", None)
DRAWS = 2_000
# Four standard errors of the difference between the tails of two bootstraps of so many draws.
TOLERANCE = 4 * math.sqrt(0.025 * 0.975 * 2 / DRAWS)

Key = tuple[str, float | None]
Outcomes = dict[Key, dict[str, tuple[float, float]]]  # of each question: mean right, mean strong tokens


def read(folder: Path) -> Outcomes:
    """What each point made of the questions that all points answered, averaged over samples."""
    found: dict[Key, dict[str, list[tuple[float, float]]]] = {}
    for text in (folder / "traces.jsonl").read_text().splitlines():
        line = json.loads(text)
        solution = (float(line["correct"]), float(line["usage"]["strong"]["completion_tokens"]))
        questions = found.setdefault((line["policy"], line["parameter"]), {})
        questions.setdefault(line["question"]["id"], []).append(solution)
    everywhere = set.intersection(*(set(questions) for questions in found.values()))
    return {
        key: {
            name: (sum(r for r, _ in samples) / len(samples), sum(t for _, t in samples) / len(samples))
            for name, samples in questions.items()
            if name in everywhere
        }
        for key, questions in found.items()
    }


def figures(outcomes: Outcomes, questions: list[str]) -> dict[str, dict[str, float]] | None:
    """Figures by policy over these questions (one may be there several times); inf: not reached. None: no gap."""
    means = {}
    for key, results in outcomes.items():
        right = sum(results[name][0] for name in questions) / len(questions)
        tokens = sum(results[name][1] for name in questions) / len(questions)
        means[key] = (right, tokens)
    (low, _), (high, full) = means[WEAK], means[STRONG]
    if high <= low or full <= 0:
        return None
    made = {}
    for policy in {policy for policy, _ in outcomes} - {"always-weak", "always-strong"}:
        points = [(tokens / full, right) for key, (right, tokens) in means.items() if key[0] == policy]
        recovered = [(share, (right - low) / (high - low)) for share, right in points]
        values = {f"cpt{level}": cpt(recovered, level / 100) for level in (50, 80, 95)}
        values["apgr"] = apgr(recovered)
        lifts = [(share, gain / share - 1) for share, gain in recovered if share > 0]
        values["delta_ibc_best"] = max((lift for _, lift in lifts), default=math.inf)
        values["delta_ibc"] = by_region(lifts)
        for budget in (10, 15, 20, 25, 30):
            values[f"budget{budget}"] = best_within([(0.0, low), (1.0, high), *points], budget / 100)
        made[policy] = values
    return made


def cpt(points: list[tuple[float, float]], target: float) -> float:
    """The first crossing of the broken line that begins at weak-only, (0, 0)."""
    before = (0.0, 0.0)
    for share, gain in sorted(points, key=lambda point: point[0]):
        if gain >= target:
            return before[0] + (target - before[1]) / (gain - before[1]) * (share - before[0])
        before = (share, gain)
    return math.inf


def apgr(points: list[tuple[float, float]]) -> float:
    """Trapezoids from (0, 0) over the points that spend less than the strong model alone to (1, 1)."""
    line = [(0.0, 0.0), *sorted((p for p in points if p[0] < 1), key=lambda point: point[0]), (1.0, 1.0)]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(line))


def by_region(lifts: list[tuple[float, float]]) -> float:
    """The mean over fifths of the share of the mean in each; inf where no point spends anything."""
    regions: dict[int, list[float]] = {}
    for share, lift in lifts:
        regions.setdefault(min(int(share * 5), 4), []).append(lift)
    means = [sum(inside) / len(inside) for inside in regions.values()]
    return sum(means) / len(means) if means else math.inf


def best_within(points: list[tuple[float, float]], budget: float) -> float:
    """The best point at this share or less, or the mixture of the neighbours of the budget."""
    line = sorted(points, key=lambda point: point[0])
    best = max(right for share, right in line if share <= budget)
    for (x0, y0), (x1, y1) in pairwise(line):
        if x0 < budget < x1:
            best = max(best, y0 + (budget - x0) / (x1 - x0) * (y1 - y0))
    return best


def resampled(outcomes: Outcomes, seed: int) -> list[dict[str, dict[str, float]]]:
    """Figures of resamples of the questions; those without a gap are left out."""
    names, rng = sorted(outcomes[WEAK]), random.Random(seed)
    drawn = (figures(outcomes, rng.choices(names, k=len(names))) for _ in range(DRAWS))
    return [values for values in drawn if values is not None]


def reported(folder: Path) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Value, low and high of the same figures in results.json."""
    made: dict[str, dict[str, tuple[float, float, float]]] = {}
    for row in json.loads((folder / "results.json").read_text())["summary"]:
        flat = {name: (row[name], *row[f"{name}_interval"]) for name in row if f"{name}_interval" in row}
        budgets, intervals = row["budgeted_accuracy"], row["budgeted_accuracy_interval"]
        flat |= {f"budget{share}": (budgets[share], *intervals[share]) for share in budgets}
        wanted = [name for name in flat if name not in ("budgeted_accuracy", "aiq", "cost_per_correct")]
        made[row["policy"]] = {name: tuple(math.inf if v is None else v for v in flat[name]) for name in wanted}  # type: ignore[misc]
    return made


def differences(folder: Path, seed: int = 1) -> list[str]:
    """Where `results.json` says something else than this file; empty if they agree."""
    outcomes, theirs = read(folder), reported(folder)
    mine = figures(outcomes, sorted(outcomes[WEAK]))
    if mine is None or set(mine) != set(theirs):
        return [f"policies {sorted(mine or {})} here, {sorted(theirs)} there"]
    draws, wrong = resampled(outcomes, seed), []
    for policy, rows in theirs.items():
        if set(rows) != set(mine[policy]):
            wrong.append(f"{policy}: figures {sorted(mine[policy])} here, {sorted(rows)} there")
            continue
        for name, (value, low, high) in rows.items():
            if not math.isclose(value, mine[policy][name], rel_tol=1e-9, abs_tol=1e-9):
                wrong.append(f"{policy} {name}: {mine[policy][name]} here, {value} there")
            for end, share in ((low, 0.025), (high, 0.975)):
                below = sum(values[policy][name] < end - 1e-9 for values in draws) / len(draws)
                upto = sum(values[policy][name] <= end + 1e-9 for values in draws) / len(draws)
                if not (below <= share + TOLERANCE and upto >= share - TOLERANCE):
                    wrong.append(f"{policy} {name}: {end} is the {below:.3f} to {upto:.3f} quantile, not {share}")
    return wrong


if __name__ == "__main__":
    found = differences(Path(sys.argv[1]))
    print("\n".join(found) or "the summary agrees with the traces")
    sys.exit(bool(found))
