"""The ten ways to get it wrong: what `trim solve` and `trim config check --probe` say, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.backends.fake_server import listening, serving
from tests.backends.gguf_files import write_model
from tests.backends.llama_stand_in import install
from trim.backends import gguf
from trim.backends.machine import Machine
from trim.cli.main import main

QUESTION = "Tom has 3 apples and buys 4 more. How many apples does he have?"
KEY = "sk-secret-1234567890"
COMMANDS = pytest.mark.parametrize("command", ["solve", "probe"])


def configuration(url: str, *, backend: str = "vllm", **changes: str) -> str:
    """Both models and, as a judge that is asked, the strong one at this address."""
    values = {"base_url": f"{url}/v1", "model": "m", "template": "chatml"} | changes
    keys = "".join(f"{key} = '{value}'\n" for key, value in values.items())
    judge = "".join(f"{key} = '{value}'\n" for key, value in values.items() if key in ("base_url", "api_key_env"))
    models = "".join(f"[{role}]\nbackend = '{backend}'\nretries = 0\n{keys}" for role in ("weak", "strong"))
    return f"{models}[prm]\nbackend = 'yes-no'\nmodel = '{values['model']}'\nretries = 0\n{judge}"


class Tried:
    """What a command did with a configuration."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.text = out + err
        self.err = err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(name: str, text: str, more: Sequence[str] = ()) -> Tried:
        Path("trim.toml").write_text(text)
        arguments = ["solve", QUESTION] if name == "solve" else ["config", "check", "trim.toml", "--probe"]
        code = main([*arguments, *more])
        printed = capsys.readouterr()
        tried = Tried(code, printed.out, printed.err)
        assert "Traceback" not in tried.text
        assert KEY not in tried.text
        if code:
            lines = printed.err.splitlines()
            assert [line.startswith("trim: ") for line in lines].count(True) == 1
            assert lines[-1].startswith("trim: ")
        return tried

    return command


@COMMANDS
def test_1_a_wrong_port(command: str, run: Any) -> None:
    tried = run(command, configuration("http://127.0.0.1:9"))
    assert tried.code == 2
    assert "weak model m at http://127.0.0.1:9/v1: cannot be reached" in tried.text
    assert "is it running, is base_url right? trim init finds the servers of this machine" in tried.text


@COMMANDS
@pytest.mark.parametrize("continuation", ["completions", "chat"])
def test_2_an_address_without_v1(command: str, continuation: str, run: Any) -> None:
    with serving() as habits:
        tried = run(command, configuration(habits.url, base_url=habits.url, continuation=continuation))
    assert tried.code == 2
    assert f"base_url lacks its /v1: {habits.url}/v1 answers, so write that" in tried.text


@COMMANDS
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api", "/v1/completions/"])
def test_2_an_address_with_another_path(command: str, path: str, run: Any) -> None:
    with serving() as habits:
        tried = run(command, configuration(habits.url, base_url=habits.url + path, continuation="chat"))
    assert tried.code == 2
    assert f"base_url is not where the API is: {habits.url}/v1 answers, so write that" in tried.text


@COMMANDS
def test_3_a_model_that_the_server_does_not_have(command: str, run: Any) -> None:
    models = [{"id": "qwen-7b"}, {"id": "qwen-1.5b"}, *({"id": f"x{number}"} for number in range(20))]
    refusal = "The model `qwen-7` does not exist."
    with serving(
        models=models, statuses=[200, 404, 404, 404, 404] if command == "probe" else [404], message=refusal
    ) as habits:
        tried = run(command, configuration(habits.url, model="qwen-7"))
    assert tried.code == 2
    assert "set model to one" in tried.text
    assert "qwen-7b" in tried.text
    assert "qwen-1.5b" in tried.text


@COMMANDS
def test_4_a_wrong_key(command: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(key="another") as habits:
        monkeypatch.setenv("MY_KEY", KEY)
        tried = run(command, configuration(habits.url, api_key_env="MY_KEY"))
        assert tried.code == 2
        assert "answered 401" in tried.text
        assert "check the key in MY_KEY" in tried.text
        without = run(command, configuration(habits.url))
        assert "it wants a key: name the environment variable that holds it in api_key_env" in without.text
        monkeypatch.delenv("MY_KEY")
        unset = run(command, configuration(habits.url, api_key_env="MY_KEY"))
        assert "[weak] api_key_env names MY_KEY, which is not set" in unset.err


@COMMANDS
def test_5_a_server_that_sends_web_pages(command: str, run: Any) -> None:
    async def page(request: object) -> HTMLResponse:
        return HTMLResponse("<html><title>Open WebUI</title></html>")

    with listening(Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST"])])) as url:
        tried = run(command, configuration(url))
    assert tried.code == 2
    assert "answered with an HTML page titled 'Open WebUI' (is base_url right?)" in tried.text


@COMMANDS
@pytest.mark.parametrize("backend", ["vllm", "llama-server", "generic"])
def test_6_a_server_without_counts_just_works(command: str, backend: str, run: Any) -> None:
    with serving(usage="none") as habits:
        tried = run(command, configuration(habits.url, backend=backend))
    assert tried.code == 0, tried.text
    assert "~ some token counts are estimates" in tried.text or "token counts: estimated" in tried.text


@COMMANDS
def test_7_no_judge_gets_one(command: str, run: Any) -> None:
    with serving() as habits:
        tried = run(command, configuration(habits.url).partition("[prm]")[0])
    assert tried.code == 0, tried.text
    assert "embedded" not in tried.text


@COMMANDS
def test_8_a_context_that_is_too_small(command: str, run: Any) -> None:
    with serving(context=30) as habits:
        tried = run(command, configuration(habits.url))
    assert tried.code == 2
    assert "maximum context length is 30" in tried.text
    assert "serve the model with a longer context (llama-server --ctx-size, vLLM --max-model-len" in tried.text


@COMMANDS
def test_9_no_memory(command: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch)
    monkeypatch.setattr(gguf, "this_machine", lambda: Machine(4, 500_000_000, 350_000_000))
    files = {role: write_model(tmp_path / f"{role}.gguf") for role in ("weak", "strong")}
    tried = run(command, "".join(f"[{role}]\nmodel = 'gguf/{file}'\n" for role, file in files.items()))
    assert tried.code == 2
    assert "not enough memory: " in tried.err
    assert "of 0.5 GB are free" in tried.err
    assert "[weak]" in tried.err
    assert "or end other programs" in tried.err


@COMMANDS
def test_10_no_template(command: str, run: Any) -> None:
    with serving() as habits:
        tried = run(command, configuration(habits.url, template="qwen9"))
    assert tried.code == 2
    assert "template 'qwen9' is neither a template family" in tried.text


def test_a_file_in_the_folder_is_used_and_named(run: Any) -> None:
    with serving() as habits:
        tried = run("solve", configuration(habits.url))
        assert tried.code == 0, tried.text
        assert "using ./trim.toml" in tried.err
        Path("other.toml").write_text(configuration("http://127.0.0.1:9"))
        other = run("solve", configuration(habits.url), ["--config", "other.toml"])
        assert other.code == 2
        assert "using" not in other.err
