"""Records: every threshold can be replayed without models, and nothing is made up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pomdp.fit.recorded import STRONG_MODEL, WEAK_MODEL
from trim.backends.replay_cache import FILE, Record, RecordedGenerator
from trim.baselines.step_level.take_over import TakeOver
from trim.config.factory import Backends
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError, TraceError
from trim.experiments.recording import RecordSettings, explore, open_replay, recording, without_lookahead
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy
from trim.simulation import SimulatedPrm
from trim.types import Question, Role, StepOptions, Trace

QUESTIONS = [Question(f"question {i}", "right", f"q{i}") for i in range(25)]


CONFIG = without_lookahead(Config())


LIVE = Backends(CONFIG, WEAK_MODEL, STRONG_MODEL, SimulatedPrm(0.9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("record")
    about = {"task": "t", "questions": 25, "seed": 3, "models": identities(Config())}
    (made / "run.json").write_text(json.dumps(about))
    with Record(made) as record:

        async def explored() -> list[int]:
            return [await explore(recording(LIVE, record), question, 3) for question in QUESTIONS]

        counts = asyncio.run(explored())
    assert 3 <= min(counts) <= max(counts) <= 50
    return made


def routed(backends: Backends, policy: Policy) -> list[Trace]:
    async def go() -> list[Trace]:
        return [await backends.router(policy).route(question, seed=3) for question in QUESTIONS]

    return asyncio.run(go())


def replayed(folder: Path, policy: Policy) -> list[Trace]:
    async def go() -> list[Trace]:
        async with open_replay(Config(), folder) as backends:
            return [await backends.router(policy).route(question, seed=3) for question in QUESTIONS]

    return asyncio.run(go())


@pytest.mark.parametrize(
    "policy",
    [
        AlwaysWeak(), AlwaysWeak(uses_scores=True), AlwaysStrong(),
        *map(Threshold, (0.013, 0.2, 0.37, 0.5, 0.61, 0.77, 0.9, 0.999, 1.0)),
        *map(TakeOver, (0.02, 0.3, 0.6, 0.9, 1.0)),
    ],
    ids=lambda policy: f"{policy.name} {policy.parameter}",
)  # fmt: skip
def test_every_threshold_and_take_over_is_replayed_exactly(folder: Path, policy: Policy) -> None:
    size = (folder / FILE).stat().st_size
    for live, again in zip(routed(LIVE, policy), replayed(folder, policy), strict=True):
        assert again.text == live.text
        assert again.decisions == live.decisions
        for role in (Role.WEAK, Role.STRONG):
            assert again.usage[role].completion_tokens == live.usage[role].completion_tokens
            assert again.usage[role].discarded_tokens == live.usage[role].discarded_tokens
    assert (folder / FILE).stat().st_size == size


@pytest.mark.parametrize("policy", [RandomSteps(0.5), RandomSteps(0.9)])
def test_what_was_not_recorded_is_an_error_or_exact(folder: Path, policy: Policy) -> None:
    try:
        found = replayed(folder, policy)
    except TraceError as error:
        assert "is not in the record" in str(error)
    else:
        assert [trace.text for trace in found] == [trace.text for trace in routed(LIVE, policy)]


def test_a_truncated_record_can_be_continued(tmp_path: Path) -> None:
    async def step(record: Record, model: object, role: Role = Role.WEAK) -> str:
        generator = RecordedGenerator(record, role, model)  # type: ignore[arg-type]
        stream = generator.steps(QUESTIONS[0], (), StepOptions(limit=1, seed=3))
        return (await anext(stream)).text

    with Record(tmp_path) as record:
        text = asyncio.run(step(record, WEAK_MODEL))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + b'{"key": "half')
    with Record(tmp_path) as record:
        assert asyncio.run(step(record, None)) == text
        with pytest.raises(TraceError, match="step 1 of the strong model for question 'q0'"):
            asyncio.run(step(record, None, Role.STRONG))
    assert (tmp_path / FILE).read_bytes() == whole
    (tmp_path / FILE).write_bytes(b"[1]\n")
    with pytest.raises(TraceError, match="is not a record"):
        Record(tmp_path)


def test_a_cap_on_tokens_counts_all_recorded_steps(tmp_path: Path) -> None:
    """Steps of 40 tokens: two fit into 90, the third does not."""

    async def steps(record: Record) -> list[int]:
        generator = RecordedGenerator(record, Role.WEAK, WEAK_MODEL)
        found: list[int] = []
        long = next(question for question in QUESTIONS if WEAK_MODEL.length(question) > 3)
        with pytest.raises(TraceError, match="without a cap"):
            async for step in generator.steps(long, (), StepOptions(max_tokens=90)):
                found.append(step.tokens)
        return found

    with Record(tmp_path) as record:
        assert asyncio.run(steps(record)) == [40, 40]


def test_a_record_of_other_models_is_refused(folder: Path, tmp_path: Path) -> None:
    async def open_with(config: Config) -> None:
        async with open_replay(config, folder):
            pass

    other = replace(Config(), weak=replace(Config().weak, model="strong"))
    with pytest.raises(ConfigError, match="is a record of"):
        asyncio.run(open_with(other))
    with pytest.raises(ConfigError, match="not a folder of trim record"):
        RecordSettings.read(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"": ""}, "cannot hold a record"),
        ({"record.jsonl": ""}, "is not a folder of trim record"),
        ({"run.json": '{"task": "a run of trim eval"}'}, "is not a folder of trim record"),
        ({"run.json": "[", "record.jsonl": ""}, "is not a folder of trim record"),
    ],
)
def test_a_folder_of_something_else_stays_as_it_is(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    folder = tmp_path / "folder"
    if "" not in files:
        folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        RecordSettings("gsm_symbolic", 2, 3, identities(Config())).open(folder)
    assert all((folder / name).read_text() == text for name, text in files.items())
