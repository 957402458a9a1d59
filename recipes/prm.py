"""Train the process reward model on top of the judge.

    python -m recipes.prm [--threads 1]

First the fresh layers learn, at every token of a solution, how unlikely the frozen judge found it, and how unlikely the
worst token so far: a dense target that costs no labels. The labels of the steps weigh in from the beginning and decide
alone at the end, when the judge's layers may move a little too. Resumable; the budget is in tokens.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from recipes import labelled, pretrain
from recipes.figures import auroc, upto_first_error
from recipes.labelled import Labelled
from recipes.optim import Optimizer
from recipes.reward import WORST, Reward, build
from recipes.tokenizer import Encoder

FOLDER = Path("runs/prm")
_POOL = 1200
_SAVE_EVERY = 60.0


@dataclass(frozen=True)
class Settings:
    """The run."""

    tokens: int = 5_000_000
    seed: int = 44
    lr: float = 0.02
    trunk_lr: float = 0.002  # of the judge's layers, once they may move
    frozen: float = 0.7  # share of the budget during which they may not
    decay: float = 0.5  # the learning rate falls to zero over this last part
    batch_tokens: int = 4096
    fresh_rows: float = 0.35  # corrupted reference solutions among the rows, never the same twice


@dataclass(frozen=True)
class Row:
    """Token ids; where the solution begins; the marks and what they should say."""

    ids: list[int]
    start: int
    marks: list[int]
    labels: tuple[bool, ...]


@dataclass(frozen=True)
class Batch:
    """`ids` and `solution` (True on its tokens) [rows, length]; `marks` flat positions; `labels` there."""

    ids: Tensor
    solution: Tensor
    marks: Tensor
    labels: Tensor
    tokens: int


def encode(encoder: Encoder, example: Labelled) -> Row:
    """`<|user|>question<|assistant|>step<extra_0>step<extra_0>...`"""
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
    solution = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        solution[i, row.start : len(row.ids)] = True
    marks = torch.tensor([i * length + mark for i, row in enumerate(rows) for mark in row.marks])
    labels = torch.tensor([int(label) for row in rows for label in row.labels])
    parts = (part.to(device) for part in (ids, solution, marks, labels))
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

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        self._encoder, self._settings = encoder, settings
        sources = sorted(path.stem for path in (labelled.ROOT / "train").glob("*.jsonl"))
        self._sampled = [encode(encoder, row) for name in sources for row in labelled.read("train", name)]
        print(f"{len(self._sampled)} sampled solutions from {', '.join(sources)}", flush=True)

    def pool(self, number: int) -> list[list[Row]]:
        """Batches in random order."""
        rng = Random(f"{self._settings.seed}/{number}")
        fresh: Iterator[Labelled] = labelled.endless_corrupted(rng.randrange(100_000))
        rows = [
            encode(self._encoder, next(fresh))
            if rng.random() < self._settings.fresh_rows
            else rng.choice(self._sampled)
            for _ in range(_POOL)
        ]
        found = batches(rows, self._settings.batch_tokens)
        rng.shuffle(found)
        return found


def surprises(model: Reward, encoder: Encoder, hidden: Tensor, batch: Batch) -> Tensor:
    """How unlikely the judge found each token [rows, length]: -log p in units of WORST, clipped to [0, 1]; 0 outside
    the solution. A mark counts as blank line or end, whichever the judge expects more.
    """
    rows, column = batch.solution.nonzero(as_tuple=True)
    expected = model.expected(hidden[rows, column - 1])
    token = batch.ids[rows, column]
    chosen = expected.gather(1, token[:, None])[:, 0]
    ended = torch.logaddexp(expected[:, encoder.blank], expected[:, encoder.end])
    chosen = torch.where(token == encoder.mark, ended, chosen)
    found = torch.zeros(batch.ids.shape, device=batch.ids.device)
    found[rows, column] = (-chosen.float() / WORST).clamp(0, 1)
    return found


def loss(model: Reward, encoder: Encoder, batch: Batch, dense: float, move_trunk: bool) -> Tensor:
    """Cross-entropy of the labels plus `dense` times that of the two dense targets."""
    with torch.set_grad_enabled(move_trunk):
        hidden = model.trunk(batch.ids)
    after, last = model.fresh(hidden, batch.ids)
    total = F.cross_entropy(model.logits(last.flatten(0, 1)[batch.marks]), batch.labels)
    if dense > 0:
        with torch.no_grad():
            target = surprises(model, encoder, hidden, batch)
            worst = target.cummax(1).values
        width = (last.shape[-1],)
        read = batch.solution | (batch.ids != encoder.pad)  # in the question nothing is surprising: that is learnt too
        for head, stream, wanted in ((model.surprise, after, target), (model.worst, last, worst)):
            guess = head(F.rms_norm(stream[read], width))[:, 0].float()
            weight = 1 + 9 * wanted[read]  # surprises are rare
            total = total + dense * F.binary_cross_entropy_with_logits(guess, wanted[read], weight)
    return total


@torch.no_grad()
def score(model: Reward, encoder: Encoder, examples: list[Labelled]) -> list[list[float]]:
    """P(right) of every step, as the shipped model gives it."""
    rows = [encode(encoder, example) for example in examples]
    found: dict[int, list[float]] = {}
    for part in batches(rows, 8192):
        batch = collate(part, model.score.weight.device)
        last = model.fresh(model.trunk(batch.ids), batch.ids)[1]
        values = model.logits(last.flatten(0, 1)[batch.marks]).softmax(-1)[:, 1].tolist()
        for row in part:
            found[id(row)], values = values[: len(row.marks)], values[len(row.marks) :]
    return [found[id(row)] for row in rows]


class Training:
    """The state of the run."""

    def __init__(self, settings: Settings, encoder: Encoder, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.model = start(encoder).to(device)
        for parameter in self.trunk_parameters():
            parameter.requires_grad_(False)
        self.fresh = Optimizer(self.model, settings.lr, adam_share=0.5)
        for parameter in self.model.parameters():
            parameter.requires_grad_(not parameter.requires_grad)
        self.trunk = Optimizer(self.model, settings.trunk_lr)
        self.tokens, self.pool = 0, 0
        FOLDER.mkdir(parents=True, exist_ok=True)
        if (FOLDER / "progress.json").exists():
            self.model.load_state_dict(load_file(FOLDER / "weights.safetensors"))
            state = load_file(FOLDER / "optimizer.safetensors")
            for name, optimizer in (("fresh", self.fresh), ("trunk", self.trunk)):
                optimizer.load({k.removeprefix(name + "/"): v for k, v in state.items() if k.startswith(name + "/")})
            progress = json.loads((FOLDER / "progress.json").read_text())
            self.tokens, self.pool = progress["tokens"], progress["pool"]
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)

    def trunk_parameters(self) -> list[torch.nn.Parameter]:
        """The judge's layers and the embedding."""
        layers = self.model.body.blocks[: self.model.trunk_layers]
        return [self.model.body.embedding.weight, *layers.parameters()]

    def step(self, batch: Batch, encoder: Encoder) -> float:
        """One update; the loss."""
        done = self.tokens / self.settings.tokens
        moving = done > self.settings.frozen
        with torch.autocast(batch.ids.device.type, torch.bfloat16):
            value = loss(self.model, encoder, batch, max(0.0, 1 - done / self.settings.frozen), moving)
        value.backward()  # type: ignore[no-untyped-call]
        scale = min(1.0, (self.tokens + 1) / 200_000) * min(1.0, (1 - done) / self.settings.decay)
        self.fresh.step(max(0.01, scale))
        if moving:
            self.trunk.step(max(0.01, scale))
        self.tokens += batch.tokens
        return value.item()

    def save(self) -> None:
        """Write weights, optimizers and progress, each whole or not at all."""
        state = {
            f"{name}/{key}": value for name in ("fresh", "trunk") for key, value in getattr(self, name).state().items()
        }
        files = {"weights": self.model.state_dict(), "optimizer": state}
        for name, tensors in files.items():
            path = FOLDER / f"{name}.safetensors"
            save_file({key: value.contiguous() for key, value in tensors.items()}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        (FOLDER / "progress.json").write_text(json.dumps({"tokens": self.tokens, "pool": self.pool}))


def start(encoder: Encoder) -> Reward:
    """The untrained model on the newest judge."""
    judge = pretrain.load("judge")
    prompt = torch.tensor([encoder.prompt("How many apples are left after 3 of 12 are eaten?")])
    with torch.no_grad():
        level = float(judge.layers(prompt).square().mean().sqrt())
    return build(judge, encoder, level)


def load(encoder: Encoder) -> Reward:
    """The newest weights of the run."""
    model = start(encoder)
    model.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return model.eval()


def train(settings: Settings, device: torch.device) -> None:
    """Train to the end of the budget."""
    encoder = Encoder()
    state, data = Training(settings, encoder, device), Data(encoder, settings)
    held = {
        path.stem: labelled.read("validation", path.stem) for path in (labelled.ROOT / "validation").glob("*.jsonl")
    }
    for block in state.model.body.blocks:
        block.compile(dynamic=True)
    started, before, saved, losses = time.time(), state.tokens, 0.0, list[float]()
    while state.tokens < settings.tokens:
        for rows in data.pool(state.pool):
            losses.append(state.step(collate(rows, device), encoder))
        state.pool += 1
        if time.time() - saved > _SAVE_EVERY or state.tokens >= settings.tokens:
            saved = time.time()
            state.save()
            figures = {
                name: round(auroc(*upto_first_error(score(state.model, encoder, rows), [r.labels for r in rows])), 4)
                for name, rows in held.items()
            }
            line = {
                "tokens": state.tokens,
                "of": settings.tokens,
                "loss": round(float(np.mean(losses[-50:])), 4),
                "tokens_per_second": round((state.tokens - before) / (time.time() - started)),
                "minutes": round((time.time() - started) / 60, 1),
                "auroc": figures,
            }
            print("prm", json.dumps(line), flush=True)
            with (FOLDER / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(Settings(), torch.device("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    main()
