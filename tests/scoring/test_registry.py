"""The table of judges: every row opens, and every key of `[prm]` has an effect on a judge or is refused for it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.backends.fake_server import listening
from trim.backends.base import score_steps
from trim.config.factory import open_prm
from trim.config.loading import load_config
from trim.config.resolution import resolve
from trim.config.settings import Config, PriceSettings, PrmSettings
from trim.config.specs import identities
from trim.config.validation import fields
from trim.errors import BackendError, ConfigError
from trim.plugins import attribute
from trim.protocols import Judge
from trim.scoring.fitted import file_of
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.registry import JUDGES, JudgeFamily, open_judge, takers
from trim.steps import StepFormat
from trim.types import Question, Role, Step


@dataclass(frozen=True)
class Settings:
    backend: str
    model: str = ""
    base_url: str = ""
    template: str = "chatml"
    tokenizer: str | None = None
    system: str | None = None
    context: int | None = None
    step_mark: str = "<extra_0>"
    raw_logits: bool = False
    timeout: float = 60.0
    retries: int = 3
    omit: tuple[str, ...] = ()
    extra_body: str = ""
    headers: str = ""


@pytest.mark.parametrize("family", JUDGES.values(), ids=lambda family: family.name)
def test_every_row_opens(family: JudgeFamily) -> None:
    assert callable(attribute(family.opener, "judge"))
    model, address = (family.local, "") if family.local else ("m", "http://127.0.0.1:9")
    judge: Judge = open_judge(Settings(family.name, model, address), None, StepFormat())
    assert judge.identity
    assert Config(prm=PrmSettings(backend=family.name, model=model, base_url=address)).prm.backend == family.name


def test_others_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown judge 'vlm'"):
        open_judge(Settings("vlm"), None, StepFormat())
    with pytest.raises(ConfigError, match="did you mean 'vllm'"):
        PrmSettings(backend="vlm")


# --- the keys of [prm] ------------------------------------------------------------------------------------------------

KEYS = [path for path in fields(PrmSettings) if path not in (("backend",), ("prices",))]
QUESTION, STEPS = Question("What is 2 + 3?"), ("2 + 3 = 5", "#### 5")
DRAFTS = tuple(Step(text, Role.WEAK, 4, logprob=-0.5, least_logprob=-2.0) for text in STEPS)


@dataclass
class Server:
    """Scores by every protocol, late or after a failure where a test asks for it."""

    url: str = ""
    delay: float = 0.0
    failures: int = 0
    seen: list[Any] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        told = [request.headers.get(name) for name in ("authorization", "x-team")]
        self.seen.append((request.url.path, told, body))
        await asyncio.sleep(self.delay)
        if self.failures:
            self.failures -= 1
            return JSONResponse({"error": "busy"}, 503, headers={"retry-after-ms": "5"})
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        if request.url.path.endswith("/pooling"):
            marks = [[[0.25, 0.75]] * text.count("<extra_0>") for text in body["input"]]
            data = [{"index": i, "data": rows} for i, rows in enumerate(marks)]
            return JSONResponse({"data": data, "usage": usage})
        if request.url.path.endswith("/completions") and "messages" not in body:
            prompt = body["prompt"]
            texts = re.findall(r"\s|\S+", prompt) if isinstance(prompt, str) else [f"token_id:{i}" for i in prompt]
            values, top = [-0.5] * len(texts), [{"a": -0.5, "b": -1.0}] * len(texts)
            found = {"tokens": texts, "token_logprobs": values, "top_logprobs": top}
            return JSONResponse({"choices": [{"logprobs": found}], "usage": usage})
        said = '{"answer": "yes", "probability": 0.8}' if "response_format" in body else "8"
        said = "Yes" if "Yes or No" in body["messages"][-1]["content"] else said
        return JSONResponse({"choices": [{"message": {"content": said}}], "usage": usage})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    with listening(Starlette(routes=[Route("/{path:path}", found.answer, methods=["POST"])])) as url:
        found.url = url
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that keys name: a curve and a tokenizer."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    path = tmp_path_factory.mktemp("files")
    RecalibrationCurve((0.0, 1.0), (0.2, 0.3)).save(path / "curve.json")
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\s?\w+|[^\w\s]|\s"), "isolated")
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "mine.json").write_text(file_of("generic").read_text().replace('"intercept": ', '"intercept": 1'))
    return path


def observed(prm: PrmSettings, server: Server, **switches: Any) -> Any:
    """All that comes of settings: what is charged and done on errors, what the server is sent, the scores."""
    server.seen.clear()
    server.delay, server.failures = switches.get("delay", 0.0), switches.get("failures", 0)
    config = Config(prm=prm)
    spec = resolve(config)

    async def run() -> Any:
        judge = open_prm(config)
        try:
            return await score_steps(judge, QUESTION, DRAFTS)
        except BackendError as error:
            return str(error)
        finally:
            await judge.aclose()

    scores = asyncio.run(run())
    return (
        spec.prices.prm,
        spec.on_error.prm,
        identities(config)["prm"],
        scores,
        json.dumps(sorted(map(str, server.seen))),
    )


def changed(key: tuple[str, ...], family: JudgeFamily, url: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Another value of a key; and what else has to be so that it can be seen."""
    switches: dict[tuple[str, ...], dict[str, Any]] = {("timeout",): {"delay": 0.3}, ("retries",): {"failures": 1}}
    values: dict[tuple[str, ...], Any] = {
        ("model",): {"embedded": "prm-small", "fitted": str(folder / "mine.json")}.get(family.name, "strong"),
        ("base_url",): f"{url}/other/v1",
        ("api_key_env",): "A_KEY_OF_THE_JUDGE",
        ("template",): "trim",
        ("tokenizer",): str(folder),
        ("context",): 3,
        ("system",): "Be strict.",
        ("step_mark",): "<mark>",
        ("raw_logits",): True,
        ("recalibration",): str(folder / "curve.json"),
        ("timeout",): 0.1,
        ("retries",): 0,
        ("on_error",): "weak",
        ("omit",): ("temperature", "max_tokens"),
        ("extra_body",): {"priority": 1},
        ("headers",): {"x-team": "maths"},
    }
    if key[0] == "prices":
        return {"prices": PriceSettings(**{key[1]: 7.0})}, {}
    return {key[0]: values[key]}, switches.get(key, {})


SITUATIONS = [(family, served) for family in JUDGES.values() for served in (True, False) if served or family.local]
SITUATIONS = [(family, served) for family, served in SITUATIONS if family.keys or not served]


@pytest.mark.parametrize("key", KEYS, ids=".".join)
@pytest.mark.parametrize(
    ("family", "served"), SITUATIONS, ids=[f"{family.name}-{served}" for family, served in SITUATIONS]
)
def test_every_key_has_an_effect_or_is_refused(
    family: JudgeFamily,
    served: bool,
    key: tuple[str, ...],
    server: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY_OF_THE_JUDGE", "a-key-of-the-judge")
    base: dict[str, Any] = {"backend": family.name}
    if served:
        base |= {"model": "m", "base_url": f"{server.url}/v1"}
    change, switches = changed(key, family, server.url, folder)
    if key == ("base_url",) and family.keys and not served:
        change |= {"model": "m"}  # another judge: one behind a server
    elif not family.takes(".".join(key), served=served):
        with pytest.raises(ConfigError, match=rf"\[prm.*\] {key[-1]}: .*(no effect|no address)"):
            Config(prm=PrmSettings(**base | change))
        return
    if key == ("timeout",):
        base["retries"] = 0
    if key == ("context",):
        base["tokenizer"] = str(folder)
        with pytest.raises(ConfigError, match=r"\[prm\] context: it needs tokenizer"):
            Config(prm=PrmSettings(**base | change | {"tokenizer": ""}))
    before = observed(PrmSettings(**base), server, **switches)
    assert observed(PrmSettings(**base | change), server, **switches) != before


def test_a_key_without_effect_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "trim.toml"
    path.write_text("[prm]\nbackend = 'grade'\nmodel = 'm'\nbase_url = 'http://x/v1'\ntokenizer = 'folder'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value) == (
        f"{path}:5: [prm] tokenizer: it has no effect with the judge 'grade'; it is for {takers('tokenizer')}"
    )
    assert takers("tokenizer") == "`vllm` and with an address `likelihood`, `log-probability`, `entropy`"


def test_a_class_of_the_users_own_is_given_every_key() -> None:
    settings = PrmSettings("examples/own_judge.py:Arithmetic", template="x", tokenizer="y", context=7, step_mark="z")
    spec = resolve(Config(prm=settings)).judge
    assert (spec.template, spec.tokenizer, spec.context, spec.step_mark) == ("x", "y", 7, "z")
