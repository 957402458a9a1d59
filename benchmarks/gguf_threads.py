"""Two GGUF models on the same cores: threads of each, and whether threads that wait for others spin.

    python -m benchmarks.gguf_threads [--weak FILE] [--strong FILE] [--rounds 3] [--busy N]

Needs the extra `local` and the two files (`python -m recipes.real.fetch weak strong`). For each setting both models are
served in this process and asked for: a text by the weak model alone, by the strong model alone, by both at the same
time (a draft while the strong model writes), and a text by the weak model while the strong model reads a prompt (a
draft while the step before is judged). All settings are measured in every round, in turn; a figure is the median of the
rounds, with its ratio to the first setting's. "CPU in all" is the processor time of all threads for all of it, which
spinning adds to whatever else the machine does. `--busy N` keeps N cores busy with other work meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from recipes.real.fetch import FOLDER, MODELS
from trim.backends.gguf import LlamaServer

TOKENS = 16
PROMPT = 60  # words
WEAK, STRONG = (FOLDER / MODELS[name].file for name in ("weak", "strong"))


@dataclass(frozen=True)
class Setting:
    """Threads of each model, and OpenMP's `OMP_WAIT_POLICY`: whether threads that wait spin."""

    threads: int
    policy: str = "PASSIVE"

    @property
    def name(self) -> str:
        return f"{self.threads} threads each, {self.policy.lower()}" if self.threads > 1 else "1 thread each"


SETTINGS = [Setting(1), Setting(2, "ACTIVE"), Setting(2, "PASSIVE")]


def write(server: LlamaServer, tokens: int = TOKENS) -> float:
    """Seconds for a text of so many tokens."""
    return _ask(server, "Write a long story.\n", tokens)


def read(server: LlamaServer, number: int) -> float:
    """Seconds for reading a prompt that is not in the cache."""
    return _ask(server, f"{number} " + "one two three four five " * (PROMPT // 5), 1)


def _ask(server: LlamaServer, prompt: str, tokens: int) -> float:
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    started = time.perf_counter()
    answer = httpx.post(
        f"{server.base_url}/completions",
        json=body,
        headers={"Authorization": f"Bearer {server.api_key}"},
        timeout=600,
    )
    answer.raise_for_status()
    return time.perf_counter() - started


def measure(weak: Path, strong: Path, threads: int, number: int) -> dict[str, float]:
    """Seconds of each piece of work with so many threads, in this process."""
    servers = [LlamaServer(path, context=2048, slots=2, threads=threads) for path in (weak, strong)]
    small, large = servers
    try:
        with ThreadPoolExecutor(2) as pool:
            write(small, 4)
            write(large, 4)
            before = time.process_time()
            found = {"weak alone": write(small), "strong alone": write(large)}
            started = time.perf_counter()
            list(pool.map(write, servers))
            found["both write"] = time.perf_counter() - started
            started = time.perf_counter()
            reading, writing = pool.submit(read, large, number), pool.submit(write, small)
            reading.result(), writing.result()
            found["draft while judging"] = time.perf_counter() - started
            found["CPU in all"] = time.process_time() - before
    finally:
        for server in servers:
            server.close()
    return found


def _round(weak: Path, strong: Path, number: int) -> dict[Setting, dict[str, float]]:
    found = {}
    for setting in SETTINGS:
        command = [sys.executable, "-m", "benchmarks.gguf_threads", f"--weak={weak}", f"--strong={strong}"]
        done = subprocess.run(
            [*command, f"--measure={setting.threads}", f"--number={number}"],
            env=os.environ | {"OMP_WAIT_POLICY": setting.policy},
            stdout=subprocess.PIPE,
            check=True,
        )
        found[setting] = json.loads(done.stdout)
        seconds = ", ".join(f"{what} {spent:.2f}" for what, spent in found[setting].items())
        print(f"round {number + 1}, {setting.name}: {seconds} s", file=sys.stderr, flush=True)
    return found


def _spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Threads and spinning of two GGUF models on the same cores.")
    parser.add_argument("--weak", type=Path, default=WEAK)
    parser.add_argument("--strong", type=Path, default=STRONG)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="cores with other work")
    parser.add_argument("--measure", type=int, metavar="THREADS", help="one setting, as JSON; used by this command")
    parser.add_argument("--number", type=int, default=0, help="of the round, for a new prompt")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.weak, arguments.strong, arguments.measure, arguments.number)))
        return
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(arguments.busy)]
    for process in others:
        process.start()
    try:
        rounds = [_round(arguments.weak, arguments.strong, number) for number in range(arguments.rounds)]
    finally:
        for process in others:
            process.kill()
    work = list(rounds[0][SETTINGS[0]])
    median = {s: {w: statistics.median(one[s][w] for one in rounds) for w in work} for s in SETTINGS}
    print(f"{'seconds':24}" + "".join(f"{what:>22}" for what in work))
    for setting in SETTINGS:
        cells = (
            f"{median[setting][what]:.2f} ({median[setting][what] / median[SETTINGS[0]][what]:.2f}x)" for what in work
        )
        print(f"{setting.name:24}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
