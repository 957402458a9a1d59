"""Train the shipped language models from scratch.

    python -m recipes.pretrain weak|strong|judge|judge-small [--threads 1]

Resumable: kill it and start it again. Token budgets are fixed, so the outcome does not depend on the machine's speed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from recipes.data import Batch, Batches, collate, problem_row
from recipes.model import Model, Shape
from recipes.optimizers import Optimizer
from recipes.tokenizer import Encoder
from trim.tasks import FAMILIES

_WORDS = {"gsm_symbolic": 0.8, "drills": 0.2}
_HARDEST = {"gsm_symbolic": 0.44, "arithmetic_chain": 0.12, "string_rewriting": 0.36, "drills": 0.08}
_LONGEST = {"gsm_symbolic": 0.3, "arithmetic_chain": 0.52, "string_rewriting": 0.14, "drills": 0.04}
_JUDGED = {"gsm_symbolic": 0.3, "arithmetic_chain": 0.26, "string_rewriting": 0.4, "drills": 0.04}
_ALL = {"gsm_symbolic": 0.36, "arithmetic_chain": 0.32, "string_rewriting": 0.2, "drills": 0.12}


@dataclass(frozen=True)
class Stage:
    """Part of a run: the learning rate warms up, stays at `peak`, falls to 0 over the last `decay` of the tokens."""

    tokens: int
    peak: float = 1.0  # share of the run's learning rate
    decay: float = 0.6
    mixture: Mapping[str, float] = field(default_factory=lambda: _ALL)


@dataclass(frozen=True)
class Run:
    """One training run: word problems first, then all tasks.

    `self_normalised` weighs the square of the log of the softmax's normaliser (the z-loss of PaLM), so that a logit
    alone says how likely a token is: what the process reward model's first layers are built on.
    """

    shape: Shape
    stages: tuple[Stage, ...]
    seed: int
    lr: float = 0.02
    batch_tokens: int = 6144
    self_normalised: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of all stages together."""
        return sum(stage.tokens for stage in self.stages)


def _stages(first: int, again: int, everything: int) -> tuple[Stage, ...]:
    # Bare arithmetic helps most at the beginning; the second, lower cycle continues where the first ended.
    half = {"gsm_symbolic": 0.5, "drills": 0.5}
    start = int(0.6 * first)
    return (
        Stage(start, decay=1e-9, mixture=half),
        Stage(first - start, decay=1.0, mixture=_WORDS),
        Stage(again, peak=0.35, decay=1.0, mixture=_WORDS),
        Stage(everything, peak=0.6),
    )


RUNS = {
    "weak": Run(Shape(96, 3, 4, 288), _stages(9_500_000, 4_500_000, 20_000_000), seed=11),
    "strong": Run(
        Shape(128, 6, 4, 384),
        (
            *_stages(26_500_000, 6_000_000, 40_000_000),
            Stage(12_000_000, peak=0.35, decay=1.0, mixture=_HARDEST),
            Stage(5_000_000, peak=0.2, decay=1.0, mixture=_LONGEST),
        ),
        seed=22,
    ),
    "judge": Run(
        Shape(128, 6, 4, 384),
        (
            *_stages(11_000_000, 6_000_000, 14_000_000),
            Stage(3_000_000, peak=0.2, decay=1.0, mixture=_HARDEST),
            Stage(26_000_000, peak=0.6, mixture=_JUDGED),
            Stage(14_000_000, peak=0.35, decay=1.0, mixture=_JUDGED),
        ),
        seed=33,
        self_normalised=0.1,
    ),
    "judge-small": Run(
        Shape(96, 3, 4, 288),
        (Stage(6_000_000), Stage(1_000_000, peak=0.2, decay=1.0), Stage(13_000_000, peak=0.6, mixture=_JUDGED)),
        seed=66,
        self_normalised=0.1,
    ),
}
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

    def stage(self) -> tuple[Stage, int]:
        """Where in the run this is: the stage and the tokens seen of it."""
        seen = self.tokens
        for stage in self.run.stages:
            if seen < stage.tokens:
                return stage, seen
            seen -= stage.tokens
        return self.run.stages[-1], self.run.stages[-1].tokens

    def scale(self) -> float:
        """The learning rate's factor at this point of the budget."""
        stage, seen = self.stage()
        left = 1 - seen / stage.tokens
        warm = (self.steps + 1) / 50 if self.tokens == seen else (seen + 1) / (50 * self.run.batch_tokens)
        return max(0.01, stage.peak * min(1.0, warm) * min(1.0, left / stage.decay))


def train(name: str, device: torch.device) -> None:
    """Train a run to the end of its budget."""
    state = Training(name, device)
    encoder = Encoder()
    batches = Batches(encoder, state.run.seed, state.run.batch_tokens)
    held_out = {
        name: [collate(rows[i : i + 32], device) for i in range(0, len(rows), 32)]
        for name, rows in (
            (name, [problem_row(encoder, question) for question in family.problems(7, 96, "validation")])
            for name, family in FAMILIES.items()
        )
    }
    for block in state.model.blocks:
        block.compile(dynamic=True)
    kind, started, before, saved, losses = device.type, time.time(), state.tokens, 0.0, list[float]()
    while state.tokens < state.run.tokens:
        for rows in batches.pool(state.pool, state.stage()[0].mixture):
            batch = collate(rows, device)
            with torch.autocast(kind, torch.bfloat16):
                loss = state.model.loss(batch.ids, batch.where, batch.target, state.run.self_normalised)
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step(state.scale())
            state.tokens, state.steps = state.tokens + batch.tokens, state.steps + 1
            losses.append(loss.item())
            if state.tokens >= state.run.tokens:
                break
        state.pool += 1
        if time.time() - saved > _SAVE_EVERY or state.tokens >= state.run.tokens:
            saved = time.time()
            state.save()
            line = {
                "tokens": state.tokens,
                "of": state.run.tokens,
                "loss": round(sum(losses[-100:]) / len(losses[-100:]), 4),
                "held_out_loss": {name: held_out_loss(state.model, parts) for name, parts in held_out.items()},
                "tokens_per_second": round((state.tokens - before) / (time.time() - started)),
                "minutes": round((time.time() - started) / 60, 1),
            }
            print(name, json.dumps(line), flush=True)
            with (state.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")


@torch.no_grad()
def held_out_loss(model: Model, parts: list[Batch]) -> float:
    """Mean loss of validation problems, in nats a token."""
    with torch.autocast(parts[0].ids.device.type, torch.bfloat16):
        return round(sum(model.loss(part.ids, part.where, part.target).item() for part in parts) / len(parts), 4)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU one thread a process is fastest")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.name, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    main()
