"""The gateway of a chaos run, in a process of its own: `trim serve`, which upon SIGUSR1 writes down what it has open.

    python -m benchmarks.chaos.gateway_process FOLDER

The configuration is FOLDER/trim.toml. Tasks that stand in the project's files and names of threads go to
FOLDER/open.json.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import sys
import threading
from pathlib import Path

from trim.server.run import run


def _written_in(task: asyncio.Task[object]) -> str:
    """The file and line that a task's coroutine stands in."""
    frames = task.get_stack(limit=1)
    return f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else ""


def _write_open(path: Path) -> None:
    tasks = [where for task in asyncio.all_tasks() if "/trim/" in (where := _written_in(task))]
    threads = [re.sub(r"[-_ ]*\d+", "", thread.name) for thread in threading.enumerate()]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"tasks": tasks, "threads": threads}))
    new.replace(path)


async def _serve(folder: Path) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _write_open, folder / "open.json")
    await run(folder / "trim.toml", {})


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
