"""Solutions with a label a step, on which the process reward model is trained and measured.

    python -m recipes.labelled train weak_usual weak_free ...     # writes runs/labelled/train/<source>.jsonl, minutes

Sources are sampled from the models in training (`SOURCES`) or made from reference solutions (`corrupted`). A solution
is cut one step after its first error: everything later is wrong by definition and teaches nothing new.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from zlib import crc32

import torch

from recipes import pretrain
from recipes.model import Model, read_model
from recipes.sample import FULL, solve
from recipes.tokenizer import Encoder
from trim.tasks import gsm_symbolic
from trim.types import Question, Sampling

ROOT = Path("runs/labelled")
# Seeds of the questions; all below FIRST_EVALUATION_SEED.
_SEEDS = {"train": 500_000, "validation": 600_000}
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Labelled:
    """A solution and whether each step is right (see `gsm_symbolic.step_labels`)."""

    question: str
    steps: tuple[str, ...]
    labels: tuple[bool, ...]


def label(question: Question, steps: tuple[str, ...]) -> Labelled:
    """Label a solution by rule and cut it one step after the first error."""
    labels = gsm_symbolic.step_labels(question, steps)
    end = labels.index(False) + 2 if False in labels else len(labels)
    return Labelled(question.text, steps[:end], labels[:end])


@dataclass(frozen=True)
class Source:
    """How solutions come about: `writer` writes from a prefix that `prefix` makes; `count` of them for training."""

    writer: str
    sampling: Sampling
    count: int
    prefix: str = "empty"  # empty; reference: a random part of the reference; weak: a random part of a weak solution
    single: bool = False  # write one step only


_USUAL = Sampling()
SOURCES = {
    "weak_usual": Source("weak", _USUAL, 2500),
    "weak_free": Source("weak", FULL, 2500),
    "weak_step": Source("weak", FULL, 3000, prefix="reference", single=True),
    "judge_free": Source("judge", FULL, 1500),
    "strong_usual": Source("strong", _USUAL, 0),
    "strong_free": Source("strong", FULL, 1500),
    "mixed": Source("strong", _USUAL, 1500, prefix="weak"),
}


@cache
def _model(name: str) -> Model:
    """The exported model, as it is shipped; the newest weights of its run while there is none."""
    folder = pretrain.TARGET / name
    return read_model(folder) if folder.exists() else pretrain.load(name)


def sample(source: Source, questions: Sequence[Question], encoder: Encoder, seed: int) -> list[Labelled]:
    """Labelled solutions of the questions, made as the source says."""
    rng = Random(seed)
    kept: list[tuple[str, ...]] = [()] * len(questions)
    if source.prefix == "reference":
        kept = [q.reference_steps[: rng.randrange(len(q.reference_steps))] for q in questions]
    elif source.prefix == "weak":
        drafts = solve(_model("weak"), encoder, questions, _USUAL, seed + 1)
        kept = [steps[: rng.randrange(1, max(2, len(steps)))] for steps in drafts]
    written = solve(_model(source.writer), encoder, questions, source.sampling, seed, kept, source.single)
    return [label(question, steps) for question, steps in zip(questions, written, strict=True) if steps]


def corrupted(question: Question, rng: Random) -> Labelled:
    """A reference solution; four times in five with one number changed somewhere."""
    steps = list(question.reference_steps)
    numbered = [i for i, step in enumerate(steps) if _DIGIT.search(step)]
    if rng.random() < 0.8 and numbered:
        index = rng.choice(numbered)
        steps[index] = _change_number(steps[index], rng)
    return label(question, tuple(steps))


def _change_number(step: str, rng: Random) -> str:
    """Change one number of a step: a digit of it, or the whole by a little, more often the last (the result)."""
    numbers = list(_NUMBER.finditer(step))
    found = numbers[-1] if rng.random() < 0.5 else rng.choice(numbers)
    text, kind = found.group(), rng.random()
    if kind < 0.4:
        place = rng.randrange(len(text))
        other = rng.choice([digit for digit in "0123456789" if digit != text[place]])
        text = text[:place] + other + text[place + 1 :]
    elif kind < 0.7:
        text = str(max(0, int(text) + rng.choice((-10, -2, -1, 1, 2, 10))))
    elif kind < 0.85 and len(text) > 1:
        text = text[:-1]
    else:
        text = text + rng.choice("0123456789")
    return step[: found.start()] + text + step[found.end() :]


def questions(split: gsm_symbolic.Split, source: str, count: int) -> list[Question]:
    """The questions of a source; every source has its own."""
    seed = _SEEDS[split] + crc32(source.encode()) % 90_000
    assert seed < gsm_symbolic.FIRST_EVALUATION_SEED
    return list(islice(gsm_symbolic.stream(seed, split), count))


def write(split: gsm_symbolic.Split, name: str, count: int) -> Path:
    """Sample a source into its file."""
    path = ROOT / split / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.time()
    rows = sample(SOURCES[name], questions(split, name, count), Encoder(), crc32(f"{split}/{name}".encode()))
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    wrong = sum(not all(row.labels) for row in rows) / len(rows)
    print(f"{path}: {len(rows)} solutions, {wrong:.3f} with an error, {time.time() - started:.0f} s", flush=True)
    return path


def read(split: gsm_symbolic.Split, name: str) -> list[Labelled]:
    """A source's file."""
    rows = map(json.loads, (ROOT / split / f"{name}.jsonl").read_text().splitlines())
    return [Labelled(row["question"], tuple(row["steps"]), tuple(row["labels"])) for row in rows]


def endless_corrupted(seed: int) -> Iterator[Labelled]:
    """Corrupted reference solutions of fresh training questions."""
    rng = Random(seed)
    make: Callable[[Question], Labelled] = lambda question: corrupted(question, rng)  # noqa: E731
    return map(make, gsm_symbolic.stream(seed, "train"))


def main() -> None:
    """Command line: split, then sources (all if none is named)."""
    torch.set_num_threads(1)
    split: gsm_symbolic.Split = "train" if sys.argv[1] == "train" else "validation"
    for name in sys.argv[2:] or SOURCES:
        count = SOURCES[name].count if split == "train" else 300
        if count:
            write(split, name, count)


if __name__ == "__main__":
    main()
