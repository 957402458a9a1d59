"""Saved policies behind the gateway: the configured one, or a plan beside a policy that needs no file."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from tests.policies.learned.networks_made import PRICES, made_up
from tests.server.gateway import ask, serving, simulated
from tests.server.test_endpoints import chat
from trim import plugins
from trim.config.factory import Backends
from trim.config.settings import Config, PolicySettings, PrmSettings
from trim.config.specs import identities
from trim.policies import PolicySpec, registry
from trim.policies.artifacts import Models, Provenance
from trim.policies.learned.policy import LearnedPolicy
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import PomdpModel
from trim.scoring.fitted import file_of
from trim.scoring.fitted_model import FittedModel
from trim.simulation import graded


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = PomdpModel(0.9, 0.98, (0.0, 0.2, 0.5, 1.0), graded(0.85), 40.0, 0.9)
    made = Provenance(Models(**identities(Config())), "simulated", "2026-11-28", 0)
    PomdpPolicy(model, 0.001).save(tmp_path, made)
    return tmp_path


def _backends(name: str, saved: Path) -> Backends:
    backends = simulated()
    return replace(backends, config=replace(backends.config, policy=PolicySettings(name, path=str(saved))))


@pytest.mark.parametrize("name", ["threshold", "pomdp"])
def test_a_plan_is_served(name: str, saved: Path) -> None:
    with serving(_backends(name, saved)) as served:
        assert served.post(ask()).json()["trim"]["policy"] == name
        assert "trim-pomdp-20%" in served.get("/v1/models").text
        for model, price in (("trim-pomdp-0.002", 0.002), ("trim-pomdp", 0.001)):
            reply = served.post(ask(model=model)).json()
            assert (reply["trim"]["policy"], reply["trim"]["parameter"]) == ("pomdp", price)
        assert served.post(ask(trim={"price": 0.003})).json()["trim"]["parameter"] == 0.003
        assert served.post(ask(model="trim-pomdp-20%")).status_code == 200
        for body in (ask(model="trim-pomdp-1e999"), ask(trim={"policy": "pomdp", "price": -1})):
            assert served.post(body).status_code == 400
        assert served.post(ask(trim={"policy": "automix"})).json()["error"]["param"] == "trim.policy"


def test_a_learned_policy_is_served_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = made_up("agg")
    policy.save(tmp_path, Provenance(Models(**identities(Config())), "simulated", "2026-11-28", 0))
    with serving(_backends("agg", tmp_path)) as served:
        monkeypatch.setattr(LearnedPolicy, "load", None)
        for trim, price in ((None, policy.price), ({"price": PRICES.low}, PRICES.low)):
            told = served.post(ask(trim=trim)).json()["trim"]
            assert (told["policy"], told["parameter"]) == ("agg", price)
        assert served.post(ask(trim={"price": 2 * PRICES.high})).status_code == 400
        told = served.post(ask(model=f"trim-agg-{PRICES.high:g}")).json()["trim"]
        assert (told["policy"], told["parameter"]) == ("agg", PRICES.high)
        assert served.post(ask(model="trim-pomdp-20%")).json()["trim"]["policy"] == "pomdp"  # the shipped one


def test_files_that_a_request_is_the_first_to_need_are_read_beside_the_event_loop(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    opened = registry.open_saved

    def open_saved(spec: PolicySpec, models: Models | None = None) -> registry.SavedPolicy:
        threads.append(threading.current_thread().name)
        return opened(spec, models)

    with serving(_backends("threshold", saved)) as served:
        monkeypatch.setattr(registry, "open_saved", open_saved)
        for _ in range(2):
            answer = served.post(ask(model="trim-pomdp+2"))
            assert "2 resamples need a fit" in answer.json()["error"]["message"]
    assert [name.rpartition("_")[0] for name in threads] == ["large-texts"]


def test_the_shipped_plan_comes_with_the_shipped_models() -> None:
    with serving(simulated()) as served:
        assert "trim-pomdp-20%" in served.get("/v1/models").text
        reply = served.post(ask(model="trim-pomdp-20%")).json()
        assert reply["trim"]["policy"] == "pomdp"
    ours = simulated()
    others = replace(ours, config=replace(ours.config, weak=replace(ours.config.weak, model="judge")))
    with serving(others) as served:
        assert "pomdp" not in served.get("/v1/models").text
        assert served.post(ask(model="trim-pomdp-20%")).status_code == 404


def test_thresholds_follow_from_a_judge_that_says_where_its_scores_lie() -> None:
    ours = simulated()
    fitted = replace(ours, config=replace(ours.config, prm=PrmSettings("fitted", "generic")))
    judge = FittedModel.load(file_of("generic"))
    with serving(fitted) as served:
        listed = {model["id"] for model in served.get("/v1/models").json()["data"]}
        assert {f"trim-rsd-{judge.score_at(0.2):g}", f"trim-take-over-{judge.score_at(0.05):g}"} <= listed
        assert served.post(ask(model="trim-rsd")).json()["trim"]["parameter"] == judge.score_at(0.2)
        assert served.post(ask(model="trim-rsd-0.7")).json()["trim"]["parameter"] == 0.7
        told = served.get("/v1/trim/recent").json()["judge"]
        assert told.startswith("generic, a regression on the log-probabilities of drafts; step AUROC 0.")


def test_every_family_that_routes_steps_has_names() -> None:
    asked = {
        "trim-agg-0.002": ("agg", 0.002),
        "trim-seq": ("seq", None),
        "trim-take-over-0.4": ("take-over", 0.4),
        "trim-rsd": ("rsd", 0.7),
        "trim-rsd-clipped": ("rsd-clipped", None),
        "trim-threshold+1-0.6": ("threshold+1", 0.6),
        "trim-always-weak": ("always-weak", None),
        "trim-random-1e-1": ("random", 0.1),
        "trim-take-over-20%": ("take-over", 0.5),  # before twenty scores are known
    }
    with serving(simulated()) as served:
        listed = {model["id"] for model in served.get("/v1/models").json()["data"]}
        names = {
            "trim-agg",
            "trim-seq-20%",
            "trim-rsd-0.7",
            "trim-take-over-0.65",
            "trim-rsd-clipped",
            "trim-glimp-router-0.02",
        }
        assert names <= listed
        for model, (policy, parameter) in asked.items():
            told = served.post(ask(model=model)).json()["trim"]
            assert told["policy"] == policy
            assert parameter is None or told["parameter"] == parameter


@pytest.mark.parametrize(
    "name",
    [
        "automix",
        "oracle",
        "spec-reason",
        "classifier=x",
        "pomdp=/etc",
        "os:system",
        "own.py:Mine",
        "../own.py:Mine",
        "",
    ],
)
def test_a_client_names_neither_code_nor_folders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(simulated()) as served:
        monkeypatch.setattr(plugins.ExtensionPoint, "load", None)
        monkeypatch.setattr(plugins, "_module_of", None)
        monkeypatch.setattr(plugins, "_import", None)
        for body in (ask(model=f"trim-{name}"), ask(trim={"policy": name})):
            reply = served.post(body)
            assert reply.status_code in (400, 404)
            assert reply.json()["error"]["param"] in ("model", "trim.policy")


def test_an_unknown_model_gets_a_suggestion() -> None:
    with serving(simulated()) as served:
        message = served.post(ask(model="trim-treshold-0.5")).json()["error"]["message"]
    assert "did you mean 'trim-threshold-0.5'?" in message


def test_a_user_defined_policy_is_served_where_it_is_configured(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    backends = simulated()
    settings = PolicySettings(f"{tmp_path}/own.py:Patient", 0.4)
    with serving(replace(backends, config=replace(backends.config, policy=settings))) as served:
        for body, parameter in (
            (ask(), 0.4),
            (ask(model="trim-patient-0.7"), 0.7),
            (ask(trim={"parameter": 0.3}), 0.3),
        ):
            told = served.post(body).json()["trim"]
            assert (told["policy"], told["parameter"]) == ("patient", parameter)


OWN = """
from dataclasses import dataclass
from trim.protocols import Policy
from trim.types import Action

@dataclass(frozen=True)
class Patient(Policy):
    k: float
    name: str = "patient"

    @property
    def parameter(self):
        return self.k

    def act(self, observation):
        return Action.CONTINUE if observation.score >= self.k else Action.REGENERATE
"""


@pytest.mark.parametrize(
    ("model", "policy", "parameter"),
    [
        ("trim-weak", "always-weak", None),
        ("trim-strong", "always-strong", None),
        ("trim-threshold-0.8", "threshold", 0.8),
        ("trim-threshold", "threshold", 0.5),
        ("trim-random-0.25", "random", 0.25),
        ("trim-random-25%", "random", 0.25),
    ],
)
def test_names(client: openai.OpenAI, model: str, policy: str, parameter: float | None) -> None:
    reply = chat(client, model=model)
    assert (reply.model, reply.trim["policy"], reply.trim["parameter"]) == (model, policy, parameter)
    assert client.models.retrieve(model).id == model
    if model == "trim-strong":
        assert reply.trim["strong_share"] == 1.0
        assert {step["role"] for step in reply.trim["steps"]} == {"strong"}


def test_options_of_the_shipped_plan_are_served() -> None:
    with serving(simulated()) as served:
        for model in ("trim-pomdp+2-0.002", "trim-pomdp+revise+2-0.002", "trim-pomdp+2+revise-0.002"):
            told = served.post(ask(model=model)).json()["trim"]
            assert told["parameter"] == 0.002
            assert set(told["policy"].split("+")) == set(model.removeprefix("trim-").removesuffix("-0.002").split("+"))
        assert served.post(ask(trim={"policy": "pomdp+revise"})).json()["trim"]["policy"] == "pomdp+revise"
        assert served.post(ask(model="trim-pomdp+fast")).status_code == 400


def test_a_plan_without_options_is_another_one_than_the_configured(saved: Path) -> None:
    with serving(_backends("pomdp+snapshot", saved)) as served:
        asked = {"trim": "pomdp+snapshot", "trim-pomdp+snapshot-0.002": "pomdp+snapshot", "trim-pomdp-0.002": "pomdp"}
        for model, policy in asked.items():
            assert served.post(ask(model=model)).json()["trim"]["policy"] == policy


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("trim-spec-reason", "is not served here: it needs scores of the strong model as a judge"),
        ("trim-oracle", "is not served here: it needs a task whose steps can be checked by rule"),
        ("trim-automix", "is not served here: it chooses a model for whole questions, not for steps"),
        ("gpt-4o", "the model 'gpt-4o' does not exist; there are trim, trim-weak, "),
        ("trim-weka", "the model 'trim-weka' does not exist; did you mean 'trim-weak'? There are trim, "),
    ],
)
def test_what_is_not_served_says_why(model: str, message: str) -> None:
    with serving(simulated()) as served:
        reply = served.post(ask(model=model))
        assert reply.status_code == 404
        assert message in reply.json()["error"]["message"]


def test_a_plan_for_another_judge_says_why() -> None:
    ours = simulated()
    others = replace(ours, config=replace(ours.config, prm=replace(ours.config.prm, backend="likelihood")))
    with serving(others) as served:
        words = "the shipped one was made for other models or another judge than these"
        assert words in served.post(ask(model="trim-pomdp-0.002")).json()["error"]["message"]
        assert words in served.post(ask(trim={"policy": "pomdp"})).json()["error"]["message"]


def test_what_is_out_of_range_is_named_as_the_client_wrote_it() -> None:
    wrong = [
        (ask(model="trim-threshold-7"), "trim-threshold-7: policy threshold: the parameter k"),
        (ask(trim={"parameter": 7}), "trim.parameter: policy threshold: the parameter k"),
        (ask(trim=3), "trim: it must be an object"),
    ]
    with serving(simulated()) as served:
        for body, message in wrong:
            assert served.post(body).json()["error"]["message"].startswith(message)
