"""The plots of README and documentation, and the rows of the README's table.

    trim eval --task T --questions 1000 --policies always-weak,always-strong,random,threshold,oracle --out trim-eval
    python docs/figures.py trim-eval [RUN ...]

The first run gives docs/img/frontier.png and the rows; each other one docs/img/frontier-TASK.png.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trim.metrics.operating_point import OperatingPoint, cheapest
from trim.reporting.frontier_plot import frontier
from trim.reporting.png import write_png

IMAGES = Path(__file__).parent / "img"


def rows(points: list[OperatingPoint]) -> list[str]:
    """Both models alone, the cheapest threshold that closes 95% of the gap, random steps of equal cost, 0.5, oracle."""
    named = {(point.policy, point.parameter): point for point in points}
    best = cheapest(points, "threshold", 0.95)
    share = (best.strong_share or 0.0) if best is not None else 0.25
    costlier = (p for p in points if p.policy == "random" and (p.strong_share or 0.0) >= share)
    alike = min(costlier, key=lambda p: p.strong_share or 0.0)
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
    """Draw a run's frontier and return its points."""
    results = json.loads((run / "results.json").read_text())
    points = [OperatingPoint(**point) for point in results["operating_points"]]
    write_png(frontier(points, f"{results['task']}, {results['questions']} questions"), IMAGES / name)
    return points


def main() -> None:
    """Write the plots and print the rows."""
    IMAGES.mkdir(exist_ok=True)
    points = plot(Path(sys.argv[1]), "frontier.png")
    for name in sys.argv[2:]:
        task = json.loads((Path(name) / "results.json").read_text())["task"]
        plot(Path(name), f"frontier-{task}.png")
    print("\n".join(rows(points)))


if __name__ == "__main__":
    main()
