"""Train a process reward model on top of a language model of its own.

    python -m recipes.prm prm-first|prm|prm-small [--threads 1]

The fresh layers start out comparing what is written with what the trunk expected (`recipes.reward`) and learn from the
labels of steps. The trunk stays as it is: what the fresh layers start from is written in coordinates so small that the
first change to the trunk's layers drowns it. `prm` continues from `prm-first` with many errors of the strong model.
Resumable; the budget is in tokens.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from recipes import labelled, pretrain
from recipes.labelled import Labelled
from recipes.optimizers import Optimizer
from recipes.reward import Reward, build
from recipes.score_metrics import auroc, upto_first_error
from recipes.tokenizer import Encoder
from trim.tasks import FAMILIES

_POOL = 1200
_SAVE_EVERY = 60.0


@dataclass(frozen=True)
class Run:
    """Hyper-parameters of one training run."""

    trunk: str  # a run of `recipes.pretrain`
    tokens: int
    seed: int
    lr: float = 0.0006
    decay: float = 0.6  # the learning rate falls to zero over this last part
    batch_tokens: int = 4096
    fresh_rows: float = 0.25  # corrupted reference solutions among the rows, never the same twice
    first: str | None = None  # the run from whose end this one goes on
    wrong_weight: float = 1.0  # of a wrong step in the loss
    shift: float = 0.0  # at the end, of the logit: so that 0.5 is where F1 on validation solutions is best


RUNS = {
    "prm-first": Run("judge", tokens=6_000_000, seed=44),
    "prm": Run("judge", tokens=8_000_000, seed=77, fresh_rows=0.35, first="prm-first", wrong_weight=2.5, shift=0.75),
    "prm-small": Run("judge-small", tokens=3_000_000, seed=55),
}


def tokens(name: str) -> int:
    """What a run and those that it goes on from read."""
    run = RUNS[name]
    return run.tokens + (tokens(run.first) if run.first else 0)


def folder(name: str) -> Path:
    """Where a run keeps its files."""
    return Path("runs") / name


@dataclass(frozen=True)
class Row:
    """Token ids; where the solution begins; the marks and what they should say."""

    ids: list[int]
    start: int
    marks: list[int]
    labels: tuple[bool, ...]


@dataclass(frozen=True)
class Batch:
    """`ids` [rows, length]; `marks` flat positions; `labels` there; `tokens`: unpadded."""

    ids: Tensor
    marks: Tensor
    labels: Tensor
    tokens: int


def encode(encoder: Encoder, example: Labelled) -> Row:
    """Token ids of `<|user|>question<|assistant|>step<extra_0>step<extra_0>...`, with the labels at the marks."""
    ids = encoder.prompt(example.question)
    start, marks = len(ids), []
    for step in example.steps:
        ids += [*encoder.encode(step), encoder.mark]
        marks.append(len(ids) - 1)
    return Row(ids, start, marks, example.labels)


def collate(rows: list[Row], device: torch.device) -> Batch:
    """Pad rows to a multiple of 16."""
    length = -(-max(len(row.ids) for row in rows) // 16) * 16
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
    marks = torch.tensor([i * length + mark for i, row in enumerate(rows) for mark in row.marks])
    labels = torch.tensor([int(label) for row in rows for label in row.labels])
    parts = (part.to(device) for part in (ids, marks, labels))
    return Batch(*parts, tokens=sum(len(row.ids) for row in rows))


def batches(rows: list[Row], most: int) -> list[list[Row]]:
    """Rows of similar length together, at most `most` padded tokens a batch."""
    found, batch = list[list[Row]](), list[Row]()
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and -(-len(row.ids) // 16) * 16 * (len(batch) + 1) > most:
            found.append(batch)
            batch = []
        batch.append(row)
    return [*found, batch]


class Data:
    """Pools of rows; a pool depends on the seed and its number alone."""

    def __init__(self, encoder: Encoder, run: Run) -> None:
        self._encoder, self._run = encoder, run
        self._sampled = {task: [encode(encoder, row) for row in labelled.read_all("train", task)] for task in FAMILIES}
        print({task: len(rows) for task, rows in self._sampled.items()}, "sampled solutions", flush=True)

    def pool(self, number: int) -> list[list[Row]]:
        """Batches in random order."""
        rng = Random(f"{self._run.seed}/{number}")
        seed = rng.randrange(100_000)
        fresh = {task: labelled.endless_corrupted(family, seed) for task, family in FAMILIES.items()}
        rows = [
            encode(self._encoder, next(fresh[task]))
            if rng.random() < self._run.fresh_rows
            else rng.choice(self._sampled[task])
            for task in rng.choices(list(FAMILIES), k=_POOL)
        ]
        found = batches(rows, self._run.batch_tokens)
        rng.shuffle(found)
        return found


@torch.no_grad()
def score(model: Reward, encoder: Encoder, examples: list[Labelled]) -> list[list[float]]:
    """P(right) of every step, as the shipped model gives it."""
    rows = [encode(encoder, example) for example in examples]
    found: dict[int, list[float]] = {}
    for part in batches(rows, 8192):
        batch = collate(part, model.score.weight.device)
        values = model(batch.ids, batch.marks).softmax(-1)[:, 1].tolist()
        for row in part:
            found[id(row)], values = values[: len(row.marks)], values[len(row.marks) :]
    return [found[id(row)] for row in rows]


class Training:
    """The state of a run."""

    def __init__(self, name: str, encoder: Encoder, device: torch.device) -> None:
        self.run, self.folder = RUNS[name], folder(name)
        torch.manual_seed(self.run.seed)
        self.model = start(name, encoder).to(device)
        for parameter in self.model.trunk_parameters():
            parameter.requires_grad_(False)
        self.optimizer = Optimizer(self.model, self.run.lr)
        self.tokens, self.pool = 0, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "progress.json").exists():
            self.model.load_state_dict(load_file(self.folder / "weights.safetensors"))
            self.optimizer.load(load_file(self.folder / "optimizer.safetensors"))
            progress = json.loads((self.folder / "progress.json").read_text())
            self.tokens, self.pool = progress["tokens"], progress["pool"]

    def step(self, batch: Batch) -> float:
        """One update; the loss."""
        done = self.tokens / self.run.tokens
        with torch.autocast(batch.ids.device.type, torch.bfloat16):
            logits = self.model(batch.ids, batch.marks)
        weights = torch.tensor([self.run.wrong_weight, 1.0], device=logits.device)
        value = F.cross_entropy(logits, batch.labels, weights)
        value.backward()  # type: ignore[no-untyped-call]
        scale = max(0.01, min(1.0, (self.tokens + 1) / 200_000) * min(1.0, (1 - done) / self.run.decay))
        self.optimizer.step(scale)
        self.tokens += batch.tokens
        return value.item()

    def save(self) -> None:
        """Write weights, optimizer and progress, each whole or not at all."""
        files = {"weights": self.model.state_dict(), "optimizer": self.optimizer.state()}
        for name, tensors in files.items():
            path = self.folder / f"{name}.safetensors"
            save_file({key: value.contiguous() for key, value in tensors.items()}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        (self.folder / "progress.json").write_text(json.dumps({"tokens": self.tokens, "pool": self.pool}))


def start(name: str, encoder: Encoder) -> Reward:
    """What a run starts from: the end of an earlier one, or the untrained model on the newest weights of its trunk."""
    first = RUNS[name].first
    return load(first, encoder).train() if first else build(pretrain.load(RUNS[name].trunk), encoder)


def load(name: str, encoder: Encoder) -> Reward:
    """The newest weights of the run."""
    model = start(name, encoder)
    model.load_state_dict(load_file(folder(name) / "weights.safetensors"))
    return model.eval()


def held_out_auroc(model: Reward, encoder: Encoder, held: dict[str, list[Labelled]]) -> dict[str, float]:
    """Step AUROC up to the first error on validation solutions."""
    return {
        task: round(auroc(*upto_first_error(score(model, encoder, rows), [row.labels for row in rows])), 4)
        for task, rows in held.items()
    }


def train(name: str, device: torch.device) -> None:
    """Train to the end of the budget."""
    encoder = Encoder()
    state = Training(name, encoder, device)
    data = Data(encoder, state.run)
    held = {task: labelled.read_all("validation", task) for task in FAMILIES}
    print("before", held_out_auroc(state.model, encoder, held), flush=True)
    for block in state.model.body.blocks:
        block.compile(dynamic=True)
    started, before, saved, losses = time.time(), state.tokens, time.time(), list[float]()
    while state.tokens < state.run.tokens:
        losses += [state.step(collate(rows, device)) for rows in data.pool(state.pool)]
        state.pool += 1
        if time.time() - saved > _SAVE_EVERY or state.tokens >= state.run.tokens:
            saved = time.time()
            if state.tokens >= state.run.tokens:
                state.model.shift(state.run.shift)
            state.save()
            line = {
                "tokens": state.tokens,
                "of": state.run.tokens,
                "loss": round(float(np.mean(losses[-50:])), 4),
                "tokens_per_second": round((state.tokens - before) / (time.time() - started)),
                "minutes": round((time.time() - started) / 60, 1),
                "auroc": held_out_auroc(state.model, encoder, held),
            }
            print(name, json.dumps(line), flush=True)
            with (state.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.name, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    main()
