"""Recorded models repeat what the original models returned, and make nothing up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trim.backends.replay_cache import FILE, Record, RecordedGenerator, RecordedJudge, _key
from trim.errors import ConfigError, TraceError
from trim.protocols import Probe
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.testing import check_judge
from trim.types import Question, Role, Sampling, Scores, Step, StepOptions

QUESTION = Question("long question 7", id="q7")
MODEL, JUDGE = SimulatedModel(Role.WEAK, 0.8, question_tokens=10), SimulatedPrm(0.9)


async def steps_of(generator: RecordedGenerator, seed: int = 0) -> list[Step]:
    return [step async for step in generator.steps(QUESTION, (), StepOptions(seed=seed))]


def test_recorded_steps_are_not_requested_again(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        first = asyncio.run(steps_of(RecordedGenerator(record, Role.WEAK, MODEL)))
    with Record(tmp_path) as record:
        alone = RecordedGenerator(record, Role.WEAK)
        again = asyncio.run(steps_of(alone))
        with pytest.raises(TraceError, match="step 1 of the weak model for question 'q7' is not in the record"):
            asyncio.run(steps_of(alone, seed=1))
    assert [step.text for step in again] == [step.text for step in first]
    assert again[0].prompt_tokens > 0
    assert all(step.prompt_tokens == 0 for step in again[1:])


def test_records_of_earlier_versions_have_no_separators(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        first = asyncio.run(steps_of(RecordedGenerator(record, Role.WEAK, MODEL)))
        kept = [step.content for step in first]
        for index, step in enumerate(first):
            entry = record.known.pop(_key("weak", 0, 0, QUESTION.text, *(step.text for step in first[:index])))
            record.known[_key("weak", 0, 0, QUESTION.text, *kept[:index])] = entry | {"text": step.content}
        assert asyncio.run(steps_of(RecordedGenerator(record, Role.WEAK))) == first


def test_scores_are_kept_by_prefix(tmp_path: Path) -> None:
    steps = ("right 1", "wrong 2 (slip)", "right 3")
    with Record(tmp_path) as record:
        asyncio.run(check_judge(RecordedJudge(record, JUDGE), QUESTION, steps))
    told = asyncio.run(JUDGE.score(QUESTION, steps))
    lines = (tmp_path / FILE).read_bytes()
    with Record(tmp_path) as record:
        alone = RecordedJudge(record)
        assert asyncio.run(alone.score(QUESTION, steps)).values == told.values
        assert asyncio.run(alone.score(QUESTION, ())) == Scores(())
        with pytest.raises(TraceError, match="not in the record"):
            asyncio.run(alone.score(QUESTION, ("another",)))
    assert (tmp_path / FILE).read_bytes() == lines


def test_identity_and_probe_are_those_of_the_recorded_model(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        live, replayed = RecordedGenerator(record, Role.WEAK, MODEL), RecordedGenerator(record, Role.WEAK)
        assert live.identity == MODEL.identity
        assert replayed.identity == f"recorded:weak in {tmp_path}"
        assert asyncio.run(replayed.probe()) == Probe(replayed.identity, reachable=True)
        assert asyncio.run(live.probe(quick=True)) == Probe(MODEL.identity, reachable=True)
        with pytest.raises(ConfigError, match="sampling cannot be changed"):  # a record knows no sampling
            live.sampled(Sampling())


def test_what_a_judge_reads_is_kept_by_prefix_in_whatever_order_it_was_asked(tmp_path: Path) -> None:
    """A record of an earlier version has tokens of whole calls; it is still read."""
    steps = ("right 1", "wrong 2 (slip)", "right 3")
    read = asyncio.run(JUDGE.score(QUESTION, steps)).up_to
    with Record(tmp_path) as record:
        judge = RecordedJudge(record, JUDGE)
        asyncio.run(judge.score(QUESTION, steps))
        assert [asyncio.run(judge.score(QUESTION, steps[:n])).up_to for n in (1, 2, 3)] == [read[:n] for n in (1, 2, 3)]
    with Record(tmp_path) as record:
        assert asyncio.run(RecordedJudge(record).score(QUESTION, steps)).up_to == read
        for entry in record.known.values():
            del entry["rereads"]
        assert asyncio.run(RecordedJudge(record).score(QUESTION, steps)) == Scores(
            asyncio.run(JUDGE.score(QUESTION, steps)).values, read[-1]
        )
