"""The pictures of README and documentation, and the rows of the README's table.

    trim eval --task T --questions 1000 --policies always-weak,always-strong,random,threshold,oracle --out trim-eval
    python docs/figures.py trim-eval [RUN ...]

The first run gives docs/img/frontier.png, docs/img/solve.svg and the rows; each other one docs/img/frontier-TASK.png.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from trim.config.factory import open_backends
from trim.config.settings import Config
from trim.metrics.operating_point import OperatingPoint, cheapest
from trim.policies import Threshold
from trim.reporting.console import live, summary
from trim.reporting.frontier_plot import frontier, save
from trim.tasks import load_task

IMAGES = Path(__file__).parent / "img"
SEED = 900_000


async def solve(console: Console) -> None:
    """The first problem on which two drafts are rejected, as `trim solve` shows it."""
    task = load_task("gsm_symbolic")
    async with open_backends(Config()) as models:
        router = models.router(Threshold(0.5))
        for question in task.questions(60, SEED):
            trace = await router.route(question, seed=SEED)
            answer = task.answer(trace.text)
            if sum(bool(d.rejected) for d in trace.decisions) == 2 and task.right(answer, question):
                console.print(question.text + "\n", style="italic")
                await live(console, router.stream(question, seed=SEED))
                console.print(summary(replace(trace, answer=answer, correct=True)))
                return


def rows(points: list[OperatingPoint]) -> list[str]:
    """The ends, the cheapest threshold that closes 95% of the gap, random steps that cost as much, 0.5, the oracle."""
    named = {(point.policy, point.parameter): point for point in points}
    best = cheapest(points, "threshold", 0.95)
    share = (best.strong_share or 0.0) if best is not None else 0.25
    dearer = (p for p in points if p.policy == "random" and (p.strong_share or 0.0) >= share)
    alike = min(dearer, key=lambda p: p.strong_share or 0.0)
    chosen = {
        "weak model alone": named["always-weak", None],
        f"random steps, p = {alike.parameter:g}": alike,
        "threshold 0.5": named.get(("threshold", 0.5)),
        **({f"threshold {best.parameter:g}": best} if best is not None else {}),
        "oracle (only the wrong steps)": named.get(("oracle", None)),
        "strong model alone": named["always-strong", None],
    }
    return [_row(name, point) for name, point in chosen.items() if point is not None]


def _row(name: str, point: OperatingPoint) -> str:
    low, high = (100 * bound for bound in point.accuracy_interval)
    cells = [
        name,
        f"{point.accuracy:.1%}",
        f"{low:.1f} to {high:.1f}%",
        f"{point.strong_share:.0%}",
        f"{point.pgr:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def plot(run: Path, name: str) -> list[OperatingPoint]:
    """Draw a run's frontier; its points."""
    results = json.loads((run / "results.json").read_text())
    points = [OperatingPoint(**point) for point in results["operating_points"]]
    save(frontier(points, f"{results['task']}, {results['questions']} questions"), IMAGES / name)
    return points


def main() -> None:
    """Write the pictures, print the rows."""
    IMAGES.mkdir(exist_ok=True)
    points = plot(Path(sys.argv[1]), "frontier.png")
    for name in sys.argv[2:]:
        task = json.loads((Path(name) / "results.json").read_text())["task"]
        plot(Path(name), f"frontier-{task}.png")
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=100, file=nowhere, force_terminal=True, highlight=False)
        asyncio.run(solve(console))
    console.save_svg(str(IMAGES / "solve.svg"), title="trim solve")
    print("\n".join(rows(points)))


if __name__ == "__main__":
    main()
