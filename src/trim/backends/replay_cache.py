"""Recorded models: every step and score that was asked for once is in a file, and comes from there the next time.

A recorded model answers one step at a time, so a record holds whole trees: what follows each prefix that some policy
came to. Without a model behind it, what is not in the record is an error: nothing is ever made up.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

from trim.atomic import LineFile
from trim.backends.base import BaseBackend, BaseGenerator, score_steps, step_stream
from trim.backends.token_counts import read_up_to
from trim.errors import TraceError
from trim.json_files import parse_json
from trim.protocols import Backend, Judge, Probe, StepGenerator
from trim.types import Finish, Question, Role, Scores, Step, StepOptions

FILE = "record.jsonl"
_SEPARATOR = "\n\n"  # of steps in records of earlier versions, which left it out


class Record:
    """A folder's recorded steps and scores, in memory and appended to the file as they come.

    Args:
        folder: of the record.
        writable: whether anything is to be added; without it nothing in the folder changes.

    Raises:
        TraceError: the file is not a record.
    """

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self.folder = folder
        self.known: dict[str, dict[str, Any]] = {}
        path = folder / FILE
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a kill may have left a line unfinished
            for line in whole.splitlines():
                entry = parse_json(line)
                self.known[entry.pop("key")] = entry
        except OSError as error:
            raise TraceError(f"{path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TraceError.reading(path, "it is not a record", error) from None
        self._file = LineFile(path, len(whole)) if writable else None

    def add(self, key: str, entry: dict[str, Any]) -> None:
        """Keep an answer; the first one stays."""
        if key not in self.known:
            assert self._file is not None, "a record that is only read has no model behind it"
            self._file.append(json.dumps({"key": key} | entry, separators=(",", ":")).encode("ascii") + b"\n")
            self.known[key] = entry

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _key(*parts: object) -> str:
    return blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


class _Recorded(BaseBackend):
    """A model that a record stands for, or stands before."""

    record: Record
    role: Role
    model: Backend | None

    @property
    def identity(self) -> str:
        """What the model behind it is called, or where the record is."""
        return f"recorded:{self.role} in {self.record.folder}" if self.model is None else self.model.identity

    def prepare(self) -> None:
        """Prepare the model behind it."""
        if self.model is not None:
            self.model.prepare()

    async def probe(self, *, quick: bool = False) -> Probe:
        """Try the model behind it."""
        return await (super().probe() if self.model is None else self.model.probe(quick=quick))

    async def aclose(self) -> None:
        """Close the model behind it; the record stays open."""
        if self.model is not None:
            await self.model.aclose()


@dataclass(frozen=True)
class RecordedGenerator(_Recorded, BaseGenerator):
    """A `StepGenerator` that answers from a record first.

    Args:
        record: holds what is known.
        role: weak or strong.
        model: asked for what is not known; None: that is an error.
    """

    record: Record
    role: Role
    model: StepGenerator | None = None

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        """See `trim.protocols.StepGenerator`.

        Raises:
            TraceError: a step is not in the record and there is no model.
        """
        written = tokens = 0
        while options.limit is None or written < options.limit:
            attempt = options.attempt if written == 0 else 0
            step = await self._step(question, kept, replace(options, limit=1, attempt=attempt, max_tokens=None))
            if step is None:
                return
            tokens += step.tokens
            if options.max_tokens is not None and tokens > options.max_tokens:
                raise TraceError("a record holds whole steps: record and replay without a cap on strong tokens")
            yield replace(step, prompt_tokens=0, cached_tokens=0) if written else step
            written += 1
            kept = (*kept, step.text)
            if step.finish is not Finish.SEPARATOR:
                return

    async def _step(self, question: Question, kept: tuple[str, ...], options: StepOptions) -> Step | None:
        asked = (self.role.value, options.seed, options.attempt, question.text)
        key, earlier = _key(*asked, *kept), _key(*asked, *map(str.strip, kept))
        if key not in self.record.known and earlier in self.record.known:
            key = earlier  # records of earlier versions have no white space around a step
        if key not in self.record.known:
            if self.model is None:
                raise TraceError(
                    f"{self.record.folder}: step {len(kept) + 1} of the {self.role.value} model for question "
                    f"{question.id!r} is not in the record, which holds what the models alone and every threshold need"
                )
            self.record.add(key, await self._ask(self.model, question, kept, options))
        entry = self.record.known[key]
        if entry.get("end"):
            return None
        step = Step(role=self.role, finish=Finish(entry["finish"]), **{k: v for k, v in entry.items() if k != "finish"})
        bare = step.finish is Finish.SEPARATOR and not step.text[-1:].isspace()
        return replace(step, text=step.text + _SEPARATOR) if bare else step

    async def _ask(
        self, model: StepGenerator, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> dict[str, Any]:
        async with aclosing(model.steps(question, kept, options)) as stream:
            step = await anext(stream, None)
            if step is None:
                return {"end": True}
            late = stream.late_counts  # of this request, which has no other step
            values = asdict(step) | {
                "finish": step.finish.value,
                "tokens": max(0, step.tokens + late.completion),
                "prompt_tokens": max(0, step.prompt_tokens + late.prompt),
                "estimated": late.estimated,
            }
            del values["role"]
            return values


@dataclass(frozen=True)
class RecordedJudge(_Recorded):
    """A `Judge` that answers from a record first; scores are kept by prefix."""

    record: Record
    model: Judge | None = None
    role: Role = field(default=Role.PRM, init=False)

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """See `trim.protocols.Judge`.

        Raises:
            TraceError: a score is not in the record and there is no model.
        """
        model = self.model
        ask = None if model is None else lambda: model.score(question, steps)
        return await self._scores(question, steps, ask)

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """See `trim.protocols.StepJudge`.

        Raises:
            TraceError: a score is not in the record and there is no model.
        """
        model, texts = self.model, tuple(step.content for step in steps)
        ask = None if model is None else lambda: score_steps(model, question, steps)
        return await self._scores(question, texts, ask)

    async def _scores(
        self, question: Question, steps: tuple[str, ...], ask: Callable[[], Awaitable[Scores]] | None
    ) -> Scores:
        keys = [_key("prm", question.text, *steps[: index + 1]) for index in range(len(steps))]
        known = self.record.known
        if any(key not in known for key in keys):
            if ask is None:
                raise TraceError(f"{self.record.folder}: a score for question {question.id!r} is not in the record")
            scores = await ask()
            told: dict[str, Any] = {"estimated": True} if scores.estimated else {}
            each = zip(keys, scores.values, read_up_to(scores), strict=True)
            for index, (key, value, tokens) in enumerate(each):
                words = {"written": scores.written[index]} if scores.written else {}
                self.record.add(key, {"score": value, "tokens": tokens, "rereads": scores.rereads} | told | words)
        entries = [known[key] for key in keys]
        if not entries:
            return Scores(())
        values, tokens = tuple(entry["score"] for entry in entries), entries[-1]["tokens"]
        if any("rereads" not in entry for entry in entries):  # of an earlier version: tokens of the call
            return Scores(values, tokens)
        up_to, estimated = tuple(entry["tokens"] for entry in entries), "estimated" in entries[-1]
        written = tuple(entry["written"] for entry in entries if "written" in entry)
        return Scores(values, tokens, up_to, entries[-1]["rereads"], estimated, sum(written[-1:]), written)
