"""Families of generated problems with step-by-step reference solutions: the tasks that the shipped models know.

A family draws problems at three levels (easy, medium, hard). Train, validation and test problems are disjoint BY TEXT
for every seed and level: a hash of the question text says which split it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal

from trim.types import Question

Split = Literal["train", "validation", "test"]
Level = Literal["easy", "medium", "hard"]

LEVELS: tuple[Level, ...] = ("easy", "medium", "hard")

FIRST_EVALUATION_SEED = 900_000
"""Seeds from here on were never used in training the shipped models."""


@dataclass(frozen=True)
class Family:
    """A generator of problems, and the rules that grade answers and label steps.

    Args:
        name: of the task.
        draw: a problem of a level (None: any) from a random generator; its id is not yet set. None: draw again.
        answer: the final answer of a solution, or None.
        same_answer: whether an answer equals the reference.
        same_step: whether a step states the same result as the reference's step.
    """

    name: str
    draw: Callable[[Random, Level | None], Question | None]
    answer: Callable[[str], str | None]
    same_answer: Callable[[str, str], bool]
    same_step: Callable[[str, str], bool]

    def stream(self, seed: int, split: Split, level: Level | None = None) -> Iterator[Question]:
        """Endless problems of one split; the same arguments give the same sequence. Texts may repeat."""
        rng = Random(seed)
        index = 0
        where = self.name if level is None else f"{self.name}:{level}"
        while True:
            question = self.draw(rng, level)
            if question is not None and split_of(question.text) == split:
                name = f"{where}/{split}/{seed}/{index}"
                yield Question(question.text, question.reference, name, question.reference_steps)
                index += 1

    def distinct(self, seed: int, count: int, split: Split = "test", level: Level | None = None) -> Iterator[Question]:
        """`count` problems with distinct texts; a smaller count gives a prefix of a larger one."""
        seen: set[int] = set()

        def new(question: Question) -> bool:
            mark, known = hash(question.text), len(seen)
            seen.add(mark)
            return len(seen) > known

        return islice(filter(new, self.stream(seed, split, level)), count)

    def problems(self, seed: int, count: int, split: Split = "test", level: Level | None = None) -> list[Question]:
        """The problems of `distinct` as a list."""
        return list(self.distinct(seed, count, split, level))

    def right(self, answer: str | None, question: Question) -> bool:
        """Whether an extracted answer equals the reference; None is wrong."""
        return answer is not None and self.same_answer(answer, question.reference or "")

    def step_labels(self, question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
        """Which steps are correct by rule: a step says what the reference's does, and all earlier ones are correct.

        A final answer before the reference solution is complete is wrong.
        """
        reference = question.reference_steps
        labels: list[bool] = []
        right = True
        for index, step in enumerate(steps):
            right = right and index < len(reference) and self.same_step(step, reference[index])
            if right and index + 1 < len(reference) and self.answer(step) is not None:
                right = False
            labels.append(right)
        return tuple(labels)


def split_of(text: str) -> Split:
    """The split that a question belongs to by the hash of its text: 10/16 train, 2/16 validation, 4/16 test."""
    bucket = hashlib.sha256(text.encode()).digest()[0] % 16
    return "train" if bucket < 10 else "validation" if bucket < 12 else "test"


def same_words(step: str, reference: str) -> bool:
    """Whether two steps are equal up to white space."""
    return step.split() == reference.split()
