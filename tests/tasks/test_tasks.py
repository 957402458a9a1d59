"""Where questions come from."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest

from trim.errors import TaskError
from trim.tasks import FAMILIES, arithmetic_chain, load_task, string_rewriting
from trim.tasks import gsm_symbolic as gsm
from trim.tasks.generated import LEVELS, Family, Level, Split
from trim.types import Question

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


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("1 + 2 - 4", ("1 + 2 = 3", "3 - 4 = -1")),
        ("12 + 5 * 7 - 9", ("5 * 7 = 35", "12 + 35 = 47", "47 - 9 = 38")),
        ("2 * 3 * 4 - 5 * 6", ("2 * 3 = 6", "6 * 4 = 24", "5 * 6 = 30", "24 - 30 = -6")),
        ("1.5 - 2.5 + 3.0", ("1.5 - 2.5 = -1.0", "-1.0 + 3.0 = 2.0")),
    ],
)
def test_expressions_are_evaluated_one_operation_a_step(expression: str, steps: tuple[str, ...]) -> None:
    assert arithmetic_chain.evaluate(expression) == steps


def test_arithmetic_agrees_with_python() -> None:
    for question in islice(arithmetic_chain.FAMILY.stream(6, "test"), 200):
        expression = re.sub(r"^.*: | =$|^Calculate |\.$", "", question.text)
        assert float(question.reference or "") == pytest.approx(eval(expression))
        assert 9 <= len(question.reference_steps) <= 17
        for step in question.reference_steps[:-1]:
            left, _, right = step.partition(" = ")
            assert eval(left) == pytest.approx(float(right))


def test_rewriting_follows_the_rules_in_their_own_notation() -> None:
    """The notation says what reasoning-gym's rule does: as a regular expression it makes the same states."""
    for question in islice(string_rewriting.FAMILY.stream(7, "test"), 200):
        rules = re.findall(r"^\d+\. (.*) -> (.*)$", question.text, re.MULTILINE)
        state = question.text.rpartition("String: ")[2].replace(" ", "")
        for step in question.reference_steps[:-1]:
            state = next(made for rule in rules if (made := rewrite(state, rule)) is not None)
            assert step == " ".join(state)
        assert all(rewrite(state, rule) is None for rule in rules)


def rewrite(state: str, rule: tuple[str, str]) -> str | None:
    """`..` is any letters, the first place that fits counts; `?` is one letter."""
    pattern, result = (side.split() for side in rule)
    regex = "".join("(.*?)" if part == ".." else "(.)" if part == "?" else part for part in pattern)
    found = re.fullmatch(regex, state)
    if found is None:
        return None
    kept = [text for text, part in zip(found.groups(), (p for p in pattern if p in ("..", "?")), strict=True)]
    if pattern[-1] == "?":  # the letter at the end is dropped
        kept = kept[:-1]
    rest = iter(kept)
    return "".join(next(rest) if part in ("..", "?") else part for part in result)


def test_step_labels_of_word_problems_go_by_their_numbers() -> None:
    question = Question("q", "7", reference_steps=("2 + 2 = 4", "4 + 3 = 7", "#### 7"))
    labels = gsm.FAMILY.step_labels
    assert labels(question, ["2 + 2 = 4", "so 4 + 3 = 7", "#### 7"]) == (True, True, True)
    assert labels(question, ["2 + 2 = 5", "4 + 3 = 7", "#### 7"]) == (False, False, False)
    assert labels(question, ["2 + 2 = 4", "#### 4"]) == (True, False)
    assert labels(question, ["2 + 2 = 4", "4 + 3 = 7", "#### 7", "more"]) == (True, True, True, False)


def test_tasks_of_one_level() -> None:
    task = load_task("arithmetic_chain:hard")
    questions = task.questions(5, 1)
    assert questions == arithmetic_chain.FAMILY.problems(1, 5, level="hard")
    assert all(len(question.reference_steps) >= 14 for question in questions)
    with pytest.raises(TaskError, match="easy, medium, hard"):
        load_task("gsm_symbolic:impossible")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 12", "12"),
        ("#### $1,200.", "1200"),
        ("####-3", "-3"),
        ("#### 1\n#### 2", "2"),
        ("12", None),
        ("####", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert gsm.final_answer(text) == answer


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": "2+3?", "answer": 5},
        {"problem": "What?", "reference": "x", "id": "a"},
        {"question": "long", "answer": "first 2\n#### 1,000"},
        {"question": "2+3?", "answer": 5},
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows), "utf-8")
    task = load_task(str(path))
    questions = task.questions(3, 1)
    assert {question.text: question.reference for question in questions} == {"2+3?": "5", "What?": "x", "long": "1,000"}
    assert task.right(task.answer(r"so \boxed{5}"), Question("", "5"))
    with pytest.raises(TaskError, match="4 questions asked for"):
        task.questions(4, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON"),
        ("[1]", "object"),
        ('{"question": "a"}', "no field 'answer'"),
        ('{"question": 1, "answer": null}', "must be a text"),
        ('{"question": "\\ud800", "answer": 1}', "half a character"),
        ("", "no questions"),
    ],
)
def test_bad_jsonl_says_where(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(TaskError, match=message):
        load_task(str(path))


def test_an_unknown_task_lists_what_there_is() -> None:
    with pytest.raises(TaskError, match="gsm_symbolic"):
        load_task("gsm")


def test_ids_of_a_file_are_distinct(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "a", "answer": 1, "id": 7}\n{"question": "b", "answer": 2, "id": "7"}\n')
    with pytest.raises(TaskError, match=r":2: id '7' is already that of line 1"):
        load_task(str(path))
    path.write_text('{"question": "a", "answer": 1, "id": null}\n{"question": "b", "answer": 2, "id": null}\n')
    assert {question.id for question in load_task(str(path)).questions(2, 0)} == {"mine/1", "mine/2"}
