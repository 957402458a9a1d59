"""Every family of generated problems: repeatable, disjoint by split, correct by its own rules."""

from __future__ import annotations

from itertools import islice

import pytest

from trim.tasks import FAMILIES
from trim.tasks.final_answers import after_mark
from trim.tasks.generated import LEVELS, Family, Level, Split, same_words, split_of

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


@every_family
def test_problems_repeat_and_shorter_lists_are_prefixes(family: Family) -> None:
    first = family.problems(900_000, 40)
    assert first == family.problems(900_000, 40)
    assert first[:10] == family.problems(900_000, 10)
    assert len({question.text for question in first}) == 40
    assert first != family.problems(900_001, 40)


@every_family
def test_splits_are_disjoint_by_text(family: Family) -> None:
    """Whatever the seed and level: the models in the package have seen no test problem."""
    sources: tuple[tuple[int, Level | None], ...] = ((1, None), (2, "easy"))
    texts = {
        split: {question.text for seed, level in sources for question in islice(family.stream(seed, split, level), 250)}
        for split in SPLITS
    }
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]
    assert not texts["validation"] & texts["test"]


@every_family
@pytest.mark.parametrize("level", [None, *LEVELS])
def test_reference_solutions_are_right_by_their_own_rules(family: Family, level: Level | None) -> None:
    for question in islice(family.stream(3, "test", level), 40):
        solution = "\n\n".join(question.reference_steps)
        assert family.right(family.answer(solution), question)
        assert all(family.step_labels(question, question.reference_steps))
        assert family.answer("\n\n".join(question.reference_steps[:-1])) is None


@every_family
def test_a_wrong_step_makes_all_later_ones_wrong(family: Family) -> None:
    for question in islice(family.stream(4, "test"), 20):
        steps = question.reference_steps
        broken = (*steps[:1], steps[1].translate(str.maketrans("0123456789abc", "1234567890bca")), *steps[2:])
        assert family.step_labels(question, broken) == (True, *[False] * (len(steps) - 1))
        assert family.step_labels(question, (*steps, "more")) == (*[True] * len(steps), False)


@every_family
def test_harder_levels_are_longer(family: Family) -> None:
    means = [
        sum(len(question.reference_steps) for question in islice(family.stream(5, "test", level), 60))
        for level in LEVELS
    ]
    assert means == sorted(means)
    assert means[0] < means[2]


def test_splits_have_their_shares() -> None:
    splits = [split_of(f"text {i}") for i in range(4_000)]
    shares = [splits.count(split) / len(splits) for split in SPLITS]
    assert shares == pytest.approx((10 / 16, 2 / 16, 4 / 16), abs=0.03)


def test_what_follows_the_mark_is_the_answer() -> None:
    assert after_mark("a #### b\nc") == "b"
    assert after_mark("#### a\n#### b c ") == "b c"
    assert (after_mark("a"), after_mark("####")) == (None, None)
    assert same_words("a  b\n", "a b")
    assert not same_words("a b", "b a")
