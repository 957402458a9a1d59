"""Routers that are trained on recorded outcomes, on questions whose text says which model can answer them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from tests.baselines.query_level.test_solvers import STRONG, WEAK
from tests.pomdp.fit.recorded import record
from trim.baselines.query_level.adam import descend
from trim.baselines.query_level.meta_verifier import MetaVerifier
from trim.baselines.query_level.solvers import QueryRouter
from trim.baselines.query_level.text_embedding import EndpointEmbeddings, HashedNgrams, open_embedder
from trim.baselines.query_level.trained_router import TrainedRouter, train
from trim.baselines.query_level.training_examples import Example, examples, needed
from trim.cli.main import main
from trim.errors import BackendUnavailable, BadResponse, ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps
from trim.policies.artifacts import Models, Provenance
from trim.traces import TraceWriter
from trim.types import Question, Role

KINDS = ("similarity", "factorisation", "classifier", "smoothie")
ORIGIN = Provenance(Models("w", "s", "p"), "t", "2026-11-25", 200)


def rows(count: int, seed: int) -> list[Example]:
    """Questions with an integral in them need the strong model, most of the time."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        hard = bool(rng.random() < 0.4)
        thing = str(rng.choice(["apples", "pens", "birds", "coins"]))
        text = f"{index}: {'Find the integral of' if hard else 'How many'} {thing} {rng.integers(100)}?"
        weak = bool(rng.random() < (0.2 if hard else 0.9))
        wrong = f"no idea {rng.integers(1000)} about {rng.choice(['this', 'that', 'those'])} at all"
        good = f"The {thing} are counted, so it is {thing}."
        made.append(Example(Question(text), weak, True, good if weak else wrong, good, good, int(weak) * 4))
    return made


TRAIN, TEST = rows(300, 1), rows(200, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_each_router_finds_what_needs_the_strong_model(kind: str, tmp_path: Path) -> None:
    router = train(kind, TRAIN, HashedNgrams())
    needs = np.array([router.need(row.question.text) for row in TEST])
    labels = needed(TEST)
    above = needs[labels == 1][:, None] - needs[labels == 0][None, :]
    auroc = (above > 0).mean() + 0.5 * (above == 0).mean()
    assert auroc > 0.75  # of 0.83 or so: outcomes are noisy
    router.save(tmp_path, ORIGIN)
    loaded = TrainedRouter.load(kind, tmp_path, ORIGIN.models)
    assert loaded.need(TEST[0].question.text) == pytest.approx(router.need(TEST[0].question.text), abs=1e-12)
    assert loaded.threshold(0.3) == router.threshold(0.3)
    with pytest.raises(ConfigError, match="trained on 3 of these questions: evaluate with another --seed"):
        loaded.refuse_seen([row.question for row in TRAIN[:3] + TEST[:5]])
    loaded.refuse_seen([row.question for row in TEST])
    with pytest.raises(ConfigError, match="made for"):
        TrainedRouter.load(kind, tmp_path, Models("w", "other", "p"))


def test_a_rate_sends_the_questions_that_need_the_strong_model_most() -> None:
    router = train("classifier", TRAIN, HashedNgrams())
    questions = [row.question for row in TEST[:60]]

    def asked(rate: float) -> set[str]:
        async def traces() -> set[str]:
            solver = QueryRouter(WEAK, STRONG, router.chooses_strong(rate))
            found = [await solver.route(question, seed=int(100 * rate)) for question in questions]
            return {t.question.text for t in found if t.usage[Role.STRONG].completion_tokens}

        return asyncio.run(traces())

    some, most = asked(0.3), asked(0.8)
    assert some < most
    assert abs(len(some) / 60 - 0.3) < 0.2
    assert (asked(0.0), len(asked(1.0))) == (set(), 60)
    with pytest.raises(ConfigError, match="rate"):
        router.threshold(1.2)


def test_what_a_router_needs_is_named() -> None:
    with pytest.raises(ConfigError, match="third policy"):
        train("smoothie", [Example(r.question, True, True, "a", "b") for r in TRAIN], HashedNgrams())
    with pytest.raises(ConfigError, match="weak-sample"):
        MetaVerifier.fit([Example(r.question, True, True, "a", "b") for r in TRAIN])
    with pytest.raises(ConfigError, match="no router 'forest'"):
        train("forest", TRAIN, HashedNgrams())
    with pytest.raises(ConfigError, match="0 questions with both"):
        examples([])


def test_the_meta_verifier_learns_what_votes_are_worth(tmp_path: Path) -> None:
    meta = MetaVerifier.fit(TRAIN)
    assert meta.gains[0] > 0.9
    assert meta.gains[4] < 0.1
    assert meta.accepts(4, 0.1)
    assert not meta.accepts(0, 0.1)
    unseen = np.mean([row.strong_right - row.weak_right for row in TRAIN])
    assert meta.gains[2] == pytest.approx(unseen)  # never observed: the mean of all
    meta.save(tmp_path, ORIGIN)
    assert (MetaVerifier.load(tmp_path).gains == meta.gains).all()
    with pytest.raises(ConfigError, match="automix-pomdp"):
        TrainedRouter.load("classifier", tmp_path)


def test_embeddings_are_of_length_one_and_like_texts_are_near() -> None:
    near, also, far = HashedNgrams().embed(["Tom has 3 apples", "Tom has 4 apples.", "Integrate x squared"])
    assert np.linalg.norm(near) == pytest.approx(1.0)
    assert near @ also > 0.6 > near @ far
    assert np.linalg.norm(HashedNgrams().embed([""])) == 0.0


def test_embeddings_from_an_endpoint() -> None:
    async def embed(request: Request) -> Response:
        texts = (await request.json())["input"]
        if texts == ["bad"]:
            return JSONResponse({"data": [{"index": 0, "embedding": "x"}]})
        data = [{"index": i, "embedding": [3.0, 4.0 * ("a" in text)]} for i, text in enumerate(texts)]
        return JSONResponse({"data": data[::-1]})

    with listening(Starlette(routes=[Route("/v1/embeddings", embed, methods=["POST"])])) as url:
        embedder = open_embedder(f"m at {url}/v1")
        assert embedder.embed(["a", "b"]) == pytest.approx(np.array([[0.6, 0.8], [1.0, 0.0]]))
        with pytest.raises(BadResponse, match="no embeddings"):
            embedder.embed(["bad"])
    with pytest.raises(BackendUnavailable, match="embedding model m at"):
        EndpointEmbeddings("http://127.0.0.1:9/v1", "m").embed(["a"])
    with pytest.raises(ConfigError, match="sentence-transformers"):
        open_embedder("nonsense")


def test_adam_finds_a_minimum() -> None:
    (found,) = descend([np.zeros(3)], lambda now: [now[0] - np.array([1.0, -0.5, 0.2])], steps=500)
    assert found == pytest.approx([1.0, -0.5, 0.2], abs=1e-3)


@pytest.mark.parametrize("kind", ["classifier", "automix-pomdp"])
def test_one_command_trains_from_traces(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces, folder = tmp_path / "traces.jsonl", tmp_path / "router"
    config = tmp_path / "trim.toml"
    config.write_text("")
    with TraceWriter(traces) as writer:
        for policy in (AlwaysWeak(), AlwaysStrong(), AlwaysWeak(name="weak-sample", parameter=1), RandomSteps(0.5)):
            for trace in record(policy, 40):
                writer.append(trace)
    assert main(["fit", "router", kind, str(traces), "--out", str(folder), "--task", "t", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "from 40 questions" in said
    assert f"{kind}={folder}" in said
    assert (folder / "policy.json").exists()
    assert main(["fit", "router", kind, str(traces), "--out", str(folder)]) == 2
    assert "--config" in capsys.readouterr().err
