"""Training batches: whole problems of all tasks, and drills (bare arithmetic cut from solutions of word problems)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

import torch

from recipes.tokenizer import Encoder
from trim.tasks import FAMILIES
from trim.tasks.generated import FIRST_EVALUATION_SEED
from trim.types import Question

_EXPRESSION = re.compile(r"([$€£(]?\d[^=]*)=( *[$€£]?[\d.,]*\d)")
_WORDS = re.compile(r"(?<![A-Za-z])(?!x\b)[A-Za-z]+(?:[ /']+[A-Za-z]+)*")
_DRILL_TOKENS = 130
_POOL = 1500  # rows that are sorted by length together, so that batches are little padded


@dataclass(frozen=True)
class Row:
    """Token ids, and the positions of the tokens that are learnt."""

    ids: list[int]
    learnt: list[int]


@dataclass(frozen=True)
class Batch:
    """`ids` [rows, length]; `where`: flat positions whose next token is learnt; `target`: those; `tokens`: unpadded."""

    ids: torch.Tensor
    where: torch.Tensor
    target: torch.Tensor
    tokens: int


def training_questions(task: str, seed: int) -> Iterator[Question]:
    """Train-split problems; evaluation seeds are refused."""
    if seed >= FIRST_EVALUATION_SEED:
        raise ValueError(f"seed {seed} is kept for evaluation")
    return FAMILIES[task].stream(seed, "train")


def problem_row(encoder: Encoder, question: Question) -> Row:
    """A problem with its solution; only the solution is learnt."""
    prompt = encoder.prompt(question.text)
    ids = prompt + encoder.solution(question.reference_steps)
    return Row(ids, list(range(len(prompt), len(ids))))


def drill_row(encoder: Encoder, questions: Iterator[Question]) -> Row:
    """About 12 bare expressions such as `12*35=420`; only the results are learnt."""
    ids, learnt = [encoder.user, encoder.assistant], list[int]()
    while len(ids) < _DRILL_TOKENS:
        for step in next(questions).reference_steps:
            match = _EXPRESSION.search(step)
            bare = _WORDS.sub("", match.group(1)) if match else ""
            if match is None or bare.strip(" .$€£").isdigit() or not bare.strip():
                continue
            left = encoder.encode(re.sub(" +", " ", bare) + "=")
            right = [*encoder.encode(re.sub("[$€£]", "", match.group(2))), encoder.blank]
            if len(left) + len(right) <= 60:
                ids += left
                learnt += range(len(ids), len(ids) + len(right))
                ids += right
    return Row(ids, learnt)


def collate(rows: list[Row], device: torch.device) -> Batch:
    """Pad rows to a multiple of 16."""
    length = -(-max(len(row.ids) for row in rows) // 16) * 16
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    where, target = list[int](), list[int]()
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        where += [i * length + j - 1 for j in row.learnt]
        target += [row.ids[j] for j in row.learnt]
    tokens = sum(len(row.ids) for row in rows)
    return Batch(ids.to(device), torch.tensor(where, device=device), torch.tensor(target, device=device), tokens)


class Batches:
    """Endless batches of a mixture of tasks.

    The sequence depends only on seed, pool number and mixture, so a resumed run continues with the next pool.
    """

    def __init__(self, encoder: Encoder, seed: int, batch_tokens: int) -> None:
        self._encoder = encoder
        self._seed = seed
        self._batch_tokens = batch_tokens

    def pool(self, number: int, mixture: Mapping[str, float]) -> list[list[Row]]:
        """The batches of one pool of rows, in random order; `mixture` has the weight of each task and of `drills`."""
        rng = Random(f"{self._seed}/{number}")
        seed = rng.randrange(FIRST_EVALUATION_SEED)
        questions = {task: training_questions(task, seed) for task in FAMILIES}
        kinds = rng.choices(list(mixture), list(mixture.values()), k=_POOL)
        rows = [
            drill_row(self._encoder, questions["gsm_symbolic"])
            if kind == "drills"
            else problem_row(self._encoder, next(questions[kind]))
            for kind in kinds
        ]
        rows.sort(key=lambda row: len(row.ids))
        batches, batch = list[list[Row]](), list[Row]()
        for row in rows:
            padded = -(-len(row.ids) // 16) * 16
            if batch and padded * (len(batch) + 1) > self._batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(row)
        batches.append(batch)
        rng.shuffle(batches)
        return batches
