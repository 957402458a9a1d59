"""Public benchmarks: files with known checksums, local or downloaded once, and how their rows are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trim.atomic import write_bytes
from trim.backends.environment import check_connections
from trim.errors import TaskError
from trim.tasks.final_answers import final_answer
from trim.types import Question

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction that Qwen2.5-Math and most others use; the system prompt where the configuration has none."""

_QWEN_DATA = (
    "https://raw.githubusercontent.com/QwenLM/Qwen2.5-Math/a45202bd16f1ec06f433442dc1152d0074773465/evaluation/data"
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A file of a benchmark.

    Args:
        file: its name in the data folder.
        sha256: of its bytes.
        url: where it is fetched from; empty: it has to be put into the folder.
    """

    file: str
    sha256: str
    url: str = ""


def from_qwen(name: str, sha256: str) -> Mapping[str, Source]:
    """The test file of a benchmark as the Qwen2.5-Math evaluation has it, at a commit."""
    return {"test": Source(f"{name}_test.jsonl", sha256, f"{_QWEN_DATA}/{name}/test.jsonl")}


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark: its files by split, and how rows become questions.

    Args:
        name: of the task.
        sources: by split; the first is the default.
        question: a question from a row and its 0-based number; None leaves the row out.
        answer: the final answer of a solution, or None.
        instruction: the system prompt that asks for answers which `answer` finds.
    """

    name: str
    sources: Mapping[str, Source]
    question: Callable[[Row, int], Question | None]
    answer: Callable[[str], str | None] = final_answer
    instruction: str = BOXED

    def read(self, split: str) -> list[Question]:
        """All questions of a split (empty: the default), in the file's order.

        Raises:
            TaskError: no such split, the file is missing and cannot be downloaded, or it has another checksum.
        """
        if split and split not in self.sources:
            raise TaskError(f"task {self.name} has no split {split!r}; there are {', '.join(self.sources)}")
        source = self.sources[split or next(iter(self.sources))]
        rows = [json.loads(line) for line in _content(source).decode("utf-8").splitlines() if line.strip()]
        questions = [self.question(row, number) for number, row in enumerate(rows)]
        return [question for question in questions if question is not None]


def data_folder() -> Path:
    """The folder of the benchmarks' files: $TRIM_DATA, or `~/.cache/trim`."""
    return Path(os.environ.get("TRIM_DATA") or Path.home() / ".cache" / "trim")


def _content(source: Source) -> bytes:
    path = data_folder() / source.file
    if not path.is_file():
        if not source.url:
            raise TaskError(f"{path} is not there: put the file into this folder, or name its folder in TRIM_DATA")
        _fetch(source, path)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise TaskError(f"{path} is another file: its sha256 is {found[:12]}..., not {source.sha256[:12]}...")
    return content


def _fetch(source: Source, path: Path) -> None:
    """Download a file; it is put in place only complete and with the right checksum."""
    import httpx

    check_connections()
    try:
        answer = httpx.get(source.url, follow_redirects=True, timeout=60.0)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise TaskError(
            f"{source.url} cannot be fetched ({error}); put {source.file} into {path.parent} or set TRIM_DATA"
        ) from None
    found = hashlib.sha256(answer.content).hexdigest()
    if found != source.sha256:
        raise TaskError(f"{source.url} has changed: its sha256 is {found[:12]}..., not {source.sha256[:12]}...")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, answer.content)
