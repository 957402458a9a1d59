"""Public benchmarks: their files, how answers are found in real solutions, and what happens to a wrong file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from trim.config.settings import Config, ModelSettings
from trim.errors import TaskError
from trim.tasks import BENCHMARKS, gsm8k, load_task
from trim.tasks.benchmark_file import BOXED
from trim.tasks.grading import Grader

SHARED = Path(__file__).parents[3] / "shared" / "data" / "benchmarks"
SIZES = {"math500": 500, "aime": 482, "aime:train": 451, "aime24": 30, "amc23": 40, "olympiadbench": 675,
         "minerva_math": 272, "gsm8k": 1319}  # fmt: skip
SYSTEMS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

needs_files = pytest.mark.skipif(not SHARED.is_dir(), reason="the benchmarks' files are not there")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIM_DATA", str(SHARED))


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    grader = Grader()
    yield grader
    grader.close()


@needs_files
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", SIZES)
def test_every_benchmark_is_whole_and_grades_its_own_references(name: str) -> None:
    task = load_task(name)
    questions = task.questions(SIZES[name], 1)
    assert len({question.id for question in questions}) == SIZES[name]
    for question in questions:
        assert question.text
        assert question.reference
        found = task.answer(f"So it is $\\boxed{{{question.reference}}}$.")
        assert task.right(found, question)
    assert not task.right(task.answer("I don't know."), questions[0])
    assert task.instruction == BOXED
    with pytest.raises(TaskError, match=rf"{name}: {SIZES[name] + 1} questions asked for"):
        task.questions(SIZES[name] + 1, 1)
    task.close()


@needs_files
@pytest.mark.usefixtures("shared")
def test_real_solutions_of_four_systems_are_graded_as_their_authors_did(grader: Grader) -> None:
    """The solutions of four GPT-3 systems to all of GSM8K, published with the paper: 5,276 verdicts."""
    rows = [json.loads(line) for line in (SHARED / "gsm8k_gpt3_solutions.jsonl").read_text("utf-8").splitlines()]
    others = []
    for row in rows:
        reference = gsm8k.answer(row["ground_truth"])
        assert reference is not None
        for system in SYSTEMS:
            found = gsm8k.answer(row[system]["solution"])
            if grader.right(found, reference) is not row[system]["is_correct"]:
                others.append((system, found, reference, row["question"]))
    assert len(rows) * len(SYSTEMS) == 5276
    assert others == []  # 100%; a list, so that a failure shows what is graded otherwise


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("3, 2", "2, 3", True),
        ("2", "2, 3", False),
        (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)", True),
        ("1.60", "1.6", True),
        ("27.0", "27", True),
        ("060", "60", True),
    ],
)
def test_answers_may_be_written_otherwise(grader: Grader, answer: str, reference: str, right: bool) -> None:
    assert grader.right(answer, reference) is right


def test_a_file_is_fetched_once_and_only_if_it_is_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIM_DATA", str(tmp_path / "data"))
    content, asked = '{"question": "1 + 1?", "answer": "#### 2"}\n', []

    async def serve(request: Request) -> Response:
        asked.append(request.url.path)
        return PlainTextResponse(content if request.url.path == "/good" else "changed")

    with listening(Starlette(routes=[Route("/{name}", serve)])) as url:
        mark = hashlib.sha256(content.encode()).hexdigest()
        source = replace(gsm8k.BENCHMARK.sources["test"], url=f"{url}/good", sha256=mark)
        good = replace(gsm8k.BENCHMARK, sources={"test": source})
        assert [q.reference for q in good.read("")] == ["2"]
        assert [q.reference for q in good.read("test")] == ["2"]
        assert asked == ["/good"]
        changed = replace(gsm8k.BENCHMARK, sources={"test": replace(source, url=f"{url}/bad", file="bad.jsonl")})
        with pytest.raises(TaskError, match="has changed: its sha256 is"):
            changed.read("")
        assert not (tmp_path / "data" / "bad.jsonl").exists()
    gone = replace(gsm8k.BENCHMARK, sources={"test": replace(source, url="http://127.0.0.1:9/x", file="gone.jsonl")})
    with pytest.raises(TaskError, match=r"put gone\.jsonl into"):
        gone.read("")


def test_wrong_files_and_splits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIM_DATA", str(tmp_path))
    with pytest.raises(TaskError, match=r"aime_test\.jsonl is not there: put the file into this folder"):
        load_task("aime")
    (tmp_path / "aime_test.jsonl").write_text("{}\n")
    with pytest.raises(TaskError, match="is another file: its sha256 is"):
        load_task("aime")
    with pytest.raises(TaskError, match="no split 'hard'; there are test, train"):
        load_task("aime:hard")
    with pytest.raises(TaskError, match="math500"):
        load_task("math600")
    assert set(BENCHMARKS) == {name.partition(":")[0] for name in SIZES}


def test_models_without_a_system_prompt_are_told_how_to_answer() -> None:
    server = ModelSettings("vllm", "m", "http://x/v1")
    config = Config(weak=server, strong=replace(server, system="mine")).instructed(BOXED)
    assert (config.weak.system, config.strong.system) == (BOXED, "mine")
    assert Config().instructed(BOXED) == Config()
