"""What is said of a configuration's judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trim.config.factory import open_backends
from trim.config.judge_notes import judge_note
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.errors import ConfigError
from trim.scoring.fitted import file_of
from trim.scoring.fitted_model import FittedModel

TELLS = ModelSettings("vllm", "w", "http://w/v1")
SILENT = ModelSettings("mistral", "s", "http://s/v1", continuation="chat")


def test_the_shipped_models_have_the_shipped_prm() -> None:
    note = judge_note(Config())
    assert note.judge == "embedded, the shipped PRM"
    assert not note.warning


def test_a_server_that_tells_log_probabilities_has_a_judge_for_nothing() -> None:
    note = judge_note(Config(TELLS, SILENT))
    measured = FittedModel.load(file_of("generic")).measured[0]
    assert note.judge.startswith("generic, ")
    assert note.why == "no [prm]"
    assert f"step AUROC {measured.auroc:.2f} ({measured.low:.2f} to {measured.high:.2f}; ProcessBench" in note.known
    assert (note.per_step, note.warning) == ("no further call", "")
    threshold = FittedModel.load(file_of("generic")).score_at(0.2)
    assert f"  threshold: {threshold:.2f} unless one is set: 20% of the labelled steps score lower" in str(note)


def test_where_it_does_not_the_strong_model_is_asked_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(SILENT, TELLS)
    note = judge_note(config)
    assert note.judge == "yes-no, a language model asked yes or no: w"
    assert "writes an answer" in note.per_step
    assert "the strong model is asked about each step" in note.warning

    import asyncio

    async def opened() -> None:
        async with open_backends(config):
            pass

    asyncio.run(opened())
    assert [record.message for record in caplog.records] == [note.warning]
    assert not judge_note(Config(SILENT, TELLS, PrmSettings(model="strong"))).warning  # it was asked for


def test_a_file_says_itself_how_good_its_judge_is(tmp_path: Path) -> None:
    values = json.loads(file_of("generic").read_text()) | {"name": "mine", "measured": []}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(values))
    for prm in (PrmSettings(backend="fitted", model=str(path)), PrmSettings(model=str(path))):
        note = judge_note(Config(TELLS, SILENT, prm))
        assert note.judge.startswith("mine, ")
        assert note.known.startswith("not known: its file does not say; four in five scores lie between 0.")
    with pytest.raises(ConfigError, match=r"other\.json: there is no such file"):
        judge_note(Config(TELLS, SILENT, PrmSettings(model="other.json")))


def test_a_judge_of_other_models_warns(tmp_path: Path) -> None:
    values = json.loads(file_of("generic").read_text()) | {"name": "mine", "models": ["org/Small"]}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(values))
    prm = PrmSettings(model=str(path))
    assert not judge_note(Config(ModelSettings("vllm", "other/small", "http://w/v1"), SILENT, prm)).warning
    warned = judge_note(Config(TELLS, SILENT, prm)).warning
    assert warned.startswith("judge mine was fitted on drafts of org/Small, not of w: its scores may mean nothing")


def test_what_stands_beside_results_is_json() -> None:
    found = judge_note(Config(TELLS, SILENT)).conditions()
    assert json.loads(json.dumps(found)) == found
    assert found.keys() == {"judge", "why", "known", "per_step"}


def test_a_class_of_the_users_own() -> None:
    assert judge_note(Config(prm=PrmSettings("my.py:Mine"))).known.startswith("not known")
