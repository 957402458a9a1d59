"""Train the language models of the box from scratch.

    python -m recipes.pretrain weak|strong|judge [--threads 1]

Resumable: kill it and start it again. Token budgets are fixed, so the outcome does not depend on the machine's speed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from recipes.data import Batches, collate, problem_row
from recipes.model import Model, Shape
from recipes.optim import Optimizer
from recipes.tokenizer import Encoder
from trim.tasks import gsm_symbolic


@dataclass(frozen=True)
class Run:
    """One training run. The learning rate warms up, stays, and falls to zero over the last `decay` of the budget.

    `again` tokens more, if any, start at `AGAIN` of the learning rate and fall to zero once more.
    """

    shape: Shape
    tokens: int
    seed: int
    lr: float = 0.02
    decay: float = 0.6
    batch_tokens: int = 6144
    again: int = 0
    drills: tuple[float, float] = (0.5, 0.2)  # share of drill rows before and after 60% of the budget


RUNS = {
    "weak": Run(Shape(96, 3, 4, 288), tokens=9_500_000, seed=11, again=4_500_000),
    "strong": Run(Shape(128, 6, 4, 384), tokens=26_500_000, seed=22, again=6_000_000),
    "judge": Run(Shape(128, 6, 4, 384), tokens=11_000_000, seed=33, again=6_000_000),
}
AGAIN = 0.35
_SAVE_EVERY = 60.0  # seconds
TARGET = Path("src/trim/embedded")  # exported models


def folder(name: str) -> Path:
    """Where a run keeps its files."""
    return Path("runs") / name


def load(name: str) -> Model:
    """The newest weights of a run."""
    model = Model(RUNS[name].shape)
    model.load_state_dict(load_file(folder(name) / "weights.safetensors"))
    return model.eval()


class Training:
    """The state of a run: model, optimizer, tokens seen, next pool of data."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.run = RUNS[name]
        self.folder = folder(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.run.seed)
        self.model = Model(self.run.shape).to(device)
        self.optimizer = Optimizer(self.model, self.run.lr)
        self.tokens, self.steps, self.pool = 0, 0, 0
        if (self.folder / "progress.json").exists():
            self.model.load_state_dict(load_file(self.folder / "weights.safetensors"))
            self.optimizer.load(load_file(self.folder / "optimizer.safetensors"))
            progress = json.loads((self.folder / "progress.json").read_text())
            self.tokens, self.steps, self.pool = progress["tokens"], progress["steps"], progress["pool"]

    def save(self) -> None:
        """Write weights, optimizer and progress, each whole or not at all."""
        files = {"weights": self.model.state_dict(), "optimizer": self.optimizer.state()}
        for name, tensors in files.items():
            path = self.folder / f"{name}.safetensors"
            save_file({key: value.contiguous() for key, value in tensors.items()}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        progress = {"tokens": self.tokens, "steps": self.steps, "pool": self.pool}
        (self.folder / "progress.json").write_text(json.dumps(progress))

    def scale(self) -> float:
        """The learning rate's factor at this point of the budget."""
        if self.tokens >= self.run.tokens:
            return max(0.01, AGAIN * (1 - (self.tokens - self.run.tokens) / self.run.again))
        left = 1 - self.tokens / self.run.tokens
        return max(0.01, min(1.0, (self.steps + 1) / 50) * min(1.0, left / self.run.decay))


def train(name: str, device: torch.device) -> None:
    """Train a run to the end of its budget."""
    state = Training(name, device)
    encoder = Encoder()
    batches = Batches(encoder, state.run.seed, state.run.batch_tokens)
    held = [problem_row(encoder, question) for question in gsm_symbolic.problems(7, 128, "validation")]
    held_out = [collate(held[i : i + 32], device) for i in range(0, 128, 32)]
    for block in state.model.blocks:
        block.compile(dynamic=True)
    kind, started, before, saved, losses = device.type, time.time(), state.tokens, 0.0, list[float]()
    budget = state.run.tokens + state.run.again
    while state.tokens < budget:
        batches.drills = state.run.drills[state.tokens > 0.6 * state.run.tokens]
        for rows in batches.pool(state.pool):
            batch = collate(rows, device)
            with torch.autocast(kind, torch.bfloat16):
                loss = state.model.loss(batch.ids, batch.where, batch.target)
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step(state.scale())
            state.tokens, state.steps = state.tokens + batch.tokens, state.steps + 1
            losses.append(loss.item())
            if state.tokens >= budget:
                break
        state.pool += 1
        if time.time() - saved > _SAVE_EVERY or state.tokens >= budget:
            saved = time.time()
            state.save()
            with torch.no_grad(), torch.autocast(kind, torch.bfloat16):
                held_loss = sum(state.model.loss(b.ids, b.where, b.target).item() for b in held_out) / len(held_out)
            line = {
                "tokens": state.tokens,
                "of": budget,
                "loss": round(sum(losses[-100:]) / len(losses[-100:]), 4),
                "held_out_loss": round(held_loss, 4),
                "tokens_per_second": round((state.tokens - before) / (time.time() - started)),
                "minutes": round((time.time() - started) / 60, 1),
            }
            print(name, json.dumps(line), flush=True)
            with (state.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU one thread a process is fastest")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.name, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    main()
