"""The pictures of README and documentation.

trim eval --task gsm_symbolic --questions 500 --out trim-eval
python docs/figures.py trim-eval          # writes docs/img/frontier.png and docs/img/solve.svg
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from trim.config import Config, open_backends
from trim.policies import Threshold
from trim.show import live, summary
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


def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    shutil.copy(Path(sys.argv[1]) / "frontier.png", IMAGES / "frontier.png")
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=100, file=nowhere, force_terminal=True, highlight=False)
        asyncio.run(solve(console))
    console.save_svg(str(IMAGES / "solve.svg"), title="trim solve")


if __name__ == "__main__":
    main()
