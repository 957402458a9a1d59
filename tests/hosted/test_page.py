"""The configurations of "Your models in five minutes" work: each is run against scripted servers of its kinds."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.fake_server import SOLUTION
from tests.conformance.kinds import KINDS
from tests.conformance.scripted_server import ScriptedServer, said, scripted_server
from tests.docs.blocks import ROOT, blocks
from tests.hosted.services import KEY, QUESTION, SERVICES, Service, nothing_refused, shown
from trim.config.factory import open_backends
from trim.config.judges import judge_for
from trim.config.loading import load_config
from trim.config.model_names import parse
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.types import Question

PAGE = ROOT / "docs" / "how-to" / "your-models.md"
FILES = {block.note("save"): block.text for block in blocks(PAGE) if block.note("save")}
VARIABLE = "TRIM_TEST_HOSTED_KEY"
_OPEN = {
    kind: Service(
        kind, shape, "m", nothing_refused, said(404, {"error": {"message": "no model"}}), raw=True, prefill=True
    )
    for kind, shape in (("llama-server", KINDS[3]), ("vllm", KINDS[0]))
}
BY_KIND = {service.kind: service for service in SERVICES} | _OPEN


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.mark.parametrize("name", [name for name in FILES if "gguf/" not in FILES[name]])
def test_a_configuration_of_the_page_solves_a_question(
    server: ScriptedServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    path, text, scripts = tmp_path / "trim.toml", FILES[name], []
    tables = tomllib.loads(text)
    for role in ("weak", "strong"):
        given = tables[role]["model"]
        kind = parse(given).kind
        service = replace(BY_KIND[kind], model=parse(given).model or "default")
        key = f"\napi_key_env = {json.dumps(VARIABLE)}" if service.unknown_key is not None else ""
        served = service.serve(server)
        scripts.append((role, served.script))
        moved = json.dumps(served.name) + key
        text = text.replace(f"[{role}]\nmodel = {json.dumps(given)}", f"[{role}]\nmodel = {moved}")
    path.write_text(text)
    config = load_config(path, environment={})
    judged = judge_for(config).backend == "yes-no"  # other judges have tests of their own

    async def run() -> list[str]:
        async with open_backends(config) as backends:
            policies = [AlwaysWeak(), AlwaysStrong(), *([Threshold(0.5)] if judged else [])]
            return [(await backends.router(policy).route(Question(QUESTION))).text for policy in policies]

    for text in asyncio.run(run()):
        assert shown(text) == shown(SOLUTION)
    for role, script in scripts:
        for request in script.requests:
            asked = "Answer Yes or No" in str(request.get("messages"))
            said = tables.get("prm" if asked else role, {}).get("extra_body", {})
            assert request | said == request
