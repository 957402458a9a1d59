"""Solutions with one label per step, on which the process reward models are trained and measured.

    python -m recipes.labelled train [TASK [SOURCE ...]]     # writes runs/labelled/train/<task>/<source>.jsonl, minutes

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
from itertools import islice
from pathlib import Path
from random import Random
from zlib import crc32

import torch

from recipes import pretrain
from recipes.model import Model
from recipes.sample import FULL, solve
from recipes.tokenizer import Encoder
from trim.tasks import FAMILIES
from trim.tasks.generated import FIRST_EVALUATION_SEED, Family, Split
from trim.types import Question, Sampling

ROOT = Path("runs/labelled")
# Seeds of the questions; all below FIRST_EVALUATION_SEED.
_SEEDS = {"train": 500_000, "validation": 600_000}
_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"(?<![^ ])[abcz](?![^ ])")

Load = Callable[[str], Model]
"""A model by name: the one in training, or the one that is shipped."""


@dataclass(frozen=True)
class Labelled:
    """A solution and whether each step is right (see `Family.step_labels`)."""

    question: str
    steps: tuple[str, ...]
    labels: tuple[bool, ...]


def label(family: Family, question: Question, steps: tuple[str, ...]) -> Labelled:
    """Label a solution by rule and cut it one step after the first error."""
    labels = family.step_labels(question, steps)
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
    balanced: bool = False  # keep all wrong solutions and only as many right ones


_USUAL = Sampling()
SOURCES = {
    "weak_usual": Source("weak", _USUAL, 1600),
    "weak_free": Source("weak", FULL, 1000),
    "weak_step": Source("weak", FULL, 1600, prefix="reference", single=True),
    "strong_usual": Source("strong", _USUAL, 1000),
    "strong_free": Source("strong", FULL, 1000),
    "mixed": Source("strong", _USUAL, 1200, prefix="weak"),
    "strong_errors": Source("strong", _USUAL, 10_000, balanced=True),
}


def sample(
    family: Family, source: Source, questions: Sequence[Question], *, encoder: Encoder, seed: int, load: Load
) -> list[Labelled]:
    """Labelled solutions of the questions, made as the source says."""
    rng = Random(seed)
    kept: list[tuple[str, ...]] = [()] * len(questions)
    if source.prefix == "reference":
        kept = [q.reference_steps[: rng.randrange(len(q.reference_steps))] for q in questions]
    elif source.prefix == "weak":
        drafts = solve(load("weak"), encoder, questions, _USUAL, seed + 1)
        kept = [steps[: rng.randrange(1, max(2, len(steps)))] for steps in drafts]
    written = solve(load(source.writer), encoder, questions, source.sampling, seed, kept, source.single)
    rows = [label(family, question, steps) for question, steps in zip(questions, written, strict=True) if steps]
    return balance(rows) if source.balanced else rows


def balance(rows: list[Labelled]) -> list[Labelled]:
    """All wrong solutions and the first right ones, as many."""
    wrong = [row for row in rows if not all(row.labels)]
    return [*wrong, *islice((row for row in rows if all(row.labels)), len(wrong))]


def corrupted(family: Family, question: Question, rng: Random) -> Labelled:
    """A reference solution; four times in five with one number or letter changed somewhere."""
    steps = list(question.reference_steps)
    if rng.random() < 0.8:
        # Products are what the strong model gets wrong most.
        products = [index for index, step in enumerate(steps) if " * " in step]
        index = rng.choice(products) if products and rng.random() < 0.4 else rng.randrange(len(steps))
        letters = list(_LETTER.finditer(steps[index]))
        steps[index] = _change_letter(steps[index], letters, rng) if letters else _change_number(steps[index], rng)
    return label(family, question, tuple(steps))


def _change_letter(step: str, letters: list[re.Match[str]], rng: Random) -> str:
    """Replace, drop or double one letter of a state."""
    found = rng.choice(letters)
    other = rng.choice([letter for letter in "abc" if letter != found.group()])
    new = rng.choice((other, "", f"{found.group()} {other}"))
    return " ".join((step[: found.start()] + new + step[found.end() :]).split())


def _change_number(step: str, rng: Random) -> str:
    """Change one number of a step: a digit of it, or the whole by a little, more often the last (the result)."""
    numbers = list(_NUMBER.finditer(step))
    if not numbers:
        return step
    found = numbers[-1] if rng.random() < 0.5 else rng.choice(numbers)
    text, kind = found.group(), rng.random()
    if kind < 0.55:
        place = rng.randrange(len(text))
        near = rng.random() < 0.6  # a lost carry
        digits = str((int(text[place]) + rng.choice((1, 9))) % 10) if near else "0123456789"
        other = rng.choice([digit for digit in digits if digit != text[place]])
        text = text[:place] + other + text[place + 1 :]
    elif kind < 0.8:
        text = str(max(0, int(text) + rng.choice((-10, -2, -1, 1, 2, 10))))
    elif kind < 0.9 and len(text) > 1:
        text = text[:-1]
    else:
        text = text + rng.choice("0123456789")
    return step[: found.start()] + text + step[found.end() :]


def questions(family: Family, split: Split, source: str, count: int) -> list[Question]:
    """The questions of a source; every source has its own."""
    seed = _SEEDS[split] + crc32(source.encode()) % 90_000
    assert seed < FIRST_EVALUATION_SEED
    return list(islice(family.stream(seed, split), count))


def write(family: Family, split: Split, name: str, count: int) -> Path:
    """Sample a source into its file."""
    path = ROOT / split / family.name / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.time()
    asked = questions(family, split, name, count)
    seed = crc32(f"{split}/{name}".encode())
    rows = sample(family, SOURCES[name], asked, encoder=Encoder(), seed=seed, load=pretrain.load)
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    wrong = sum(not all(row.labels) for row in rows) / len(rows)
    print(f"{path}: {len(rows)} solutions, {wrong:.3f} with an error, {time.time() - started:.0f} s", flush=True)
    return path


def read(split: Split, task: str, name: str) -> list[Labelled]:
    """The labelled solutions of one source, from its file."""
    rows = map(json.loads, (ROOT / split / task / f"{name}.jsonl").read_text().splitlines())
    return [Labelled(row["question"], tuple(row["steps"]), tuple(row["labels"])) for row in rows]


def read_all(split: Split, task: str) -> list[Labelled]:
    """All sources of a task that were written."""
    names = sorted(path.stem for path in (ROOT / split / task).glob("*.jsonl"))
    return [row for name in names for row in read(split, task, name)]


def endless_corrupted(family: Family, seed: int) -> Iterator[Labelled]:
    """Corrupted reference solutions of fresh training questions."""
    rng = Random(seed)
    for question in family.stream(seed, "train"):
        yield corrupted(family, question, rng)


def main() -> None:
    """Command line: split, then a task (all if none is named), then sources (all if none is named)."""
    torch.set_num_threads(1)
    split: Split = "train" if sys.argv[1] == "train" else "validation"
    for task in sys.argv[2:3] or FAMILIES:
        for name in sys.argv[3:] or SOURCES:
            count = SOURCES[name].count if split == "train" else 150
            if not (ROOT / split / task / f"{name}.jsonl").exists():
                write(FAMILIES[task], split, name, count)


if __name__ == "__main__":
    main()
