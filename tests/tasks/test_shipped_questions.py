"""Whether a question is of a kind that the shipped models were made for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trim.cli.main import COMMANDS, main, parser
from trim.tasks import load_task
from trim.tasks.shipped_questions import FOREIGN, is_foreign, note_on

BENCHMARKS = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"


@pytest.mark.parametrize("task", ["gsm_symbolic", "arithmetic_chain", "string_rewriting"])
def test_false_alarms_are_below_one_percent(task: str) -> None:
    texts = [question.text for question in load_task(task).stream(400, 31_337)]
    assert sum(map(is_foreign, texts)) / len(texts) < 0.01


@pytest.mark.parametrize(
    "text",
    [
        "Who was the first president of France?",
        "hello",
        "",
        "Write a poem about autumn.",
        "Find all real x such that $x^2 - 5x + 6 = 0$.",
        "Beweise, dass es unendlich viele Primzahlen gibt.",
        "\ud800 half a character",
    ],
)
def test_other_questions_are_foreign(text: str) -> None:
    assert is_foreign(text)
    assert note_on(text, ("embedded:weak@1", "vllm:big at http://x")) == FOREIGN
    assert note_on(text, ("vllm:small at http://x", "embedded:/models/mine@1")) == ""


@pytest.mark.parametrize(("name", "least"), [("gsm8k_test", 0.9), ("math500_test", 0.99), ("aime_test", 0.99)])
def test_benchmarks_are_foreign(name: str, least: float) -> None:
    """Some of GSM8K's questions are those that gsm_symbolic's templates were made from."""
    path = BENCHMARKS / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()[:400]]
    assert sum(is_foreign(row.get("question") or row["problem"]) for row in rows) / len(rows) > least


def test_the_questions_of_the_help_can_be_solved() -> None:
    """What the examples of the commands ask the shipped models."""
    pages = [str(parser().description), *(str(parser(name).format_help()) for name in COMMANDS)]
    asked = [found[1] for page in pages for found in re.finditer(r'"(A loaf.*?\?)"', page, re.DOTALL)]
    assert asked
    for text in asked:
        assert not is_foreign(text.replace("\\$", "$").replace("\\\n", ""))


def test_solve_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "Who was the first president of France?", "--max-strong-tokens", "0"]) == 0
    assert f"trim: {FOREIGN}" in capsys.readouterr().err
    assert main(["solve", "A infection infects 12 people. Every day, each infected person infects 5 others. "
                 "How many people are infected after 3 days?"]) == 0  # fmt: skip
    assert "trim:" not in capsys.readouterr().err
