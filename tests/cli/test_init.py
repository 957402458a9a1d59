"""`trim init` finds two servers, writes a file that works, and says what is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.backends.fake_server import Habits, serving
from trim.backends import discovery
from trim.cli.main import main
from trim.config.loading import load_config


def llama_server(stack: ExitStack, name: str, parameters: int, **habits: Any) -> Habits:
    """A scripted llama-server with one model."""
    meta = {"n_params": parameters, "n_ctx_train": 32768, "size": parameters // 2}
    models = [{"id": f"/models/{name}.gguf", "owned_by": "llamacpp", "meta": meta}]
    props = {"default_generation_settings": {"n_ctx": 8192}}
    return stack.enter_context(serving(models=models, props=props, **habits))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, tuple[int, ...]]:
    """The ports that are scanned; none of those where something of this machine may listen."""
    monkeypatch.chdir(tmp_path)
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    scanned: dict[str, tuple[int, ...]] = {}
    find = discovery.find_servers

    async def found(urls: Sequence[str], ports: Mapping[str, Sequence[int]] = scanned) -> Any:
        return await find(urls, ports)

    monkeypatch.setattr(discovery, "find_servers", found)
    return scanned


def at(*servers: Habits) -> tuple[int, ...]:
    return tuple(int(server.url.rpartition(":")[2]) for server in servers)


def test_two_servers_become_weak_and_strong(
    stack: ExitStack, ports: dict[str, tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    large, small = llama_server(stack, "coder-1.5b", 1_777_088_000), llama_server(stack, "coder-0.5b", 630_167_424)
    ports["any"] = at(large, small)
    assert main(["init", "--yes"]) == 0
    printed = capsys.readouterr().out
    config = load_config(Path("trim.toml"))
    assert (config.weak.base_url, config.weak.model) == (f"{small.url}/v1", "coder-0.5b")
    assert (config.strong.base_url, config.strong.model) == (f"{large.url}/v1", "coder-1.5b")
    assert config.weak.backend == "llama-server"
    for words in (
        "coder-0.5b (0.63 billion parameters, context 8,192)",
        "wrote trim.toml",
        "weak  ok: ",
        "strong  ok: ",
        "prm  ok: ",
        "judge: generic, ",
        "  threshold: 0.",
        "for 1,000 questions like it, a rough estimate from this one",
        "cost  unknown: no prices for weak",
        "missing: [weak] prices",
        'next: trim solve "',
        "trim serve",
    ):
        assert words in printed
    assert main(["solve", "Tom has 3 apples and buys 4 more. How many apples does he have?"]) == 0
    solved = capsys.readouterr()
    assert "answer 7" in solved.out
    assert "using ./trim.toml" in solved.err


def test_ollama_is_looked_for_where_its_variable_says(
    stack: ExitStack,
    ports: dict[str, tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = llama_server(stack, "coder-0.5b", 630_167_424)  # of any kind: what answers is recognised
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    names = ["--weak", "openai/a", "--strong", "openai/b"]
    assert main(["init", "--yes", "--no-probe", *names]) == 0
    assert f"llama-server at {server.url}" in capsys.readouterr().out


def test_json(stack: ExitStack, ports: dict[str, tuple[int, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    ports["any"] = at(llama_server(stack, "a-7b", 7_000_000_000), llama_server(stack, "b-1b", 1_000_000_000))
    assert main(["init", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weak"].startswith("llama-server/b-1b@http://127.0.0.1:")
    assert told["probes"]["weak"]["ok"]
    assert told["solved"]["answer"] == "7"
    assert told["per_1000_questions"]["cost"] is None
    assert told["per_1000_questions"]["tokens"]["weak"]["completion"] > 0


def test_a_file_is_never_overwritten_without_asking(
    stack: ExitStack, ports: dict[str, tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    ports["any"] = at(llama_server(stack, "a-7b", 7_000_000_000), llama_server(stack, "b-1b", 1_000_000_000))
    Path("trim.toml").write_text("mine")
    assert main(["init", "--yes"]) == 2
    assert "trim.toml exists: add --force to overwrite it, or --out FILE" in capsys.readouterr().err
    assert Path("trim.toml").read_text() == "mine"
    assert main(["init", "--yes", "--no-probe", "--out", "other.toml"]) == 0
    assert "next: trim config check other.toml --probe" in capsys.readouterr().out
    assert main(["init", "--yes", "--no-probe", "--force"]) == 0
    assert load_config(Path("trim.toml")).weak.model == "b-1b"


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        ([], [], "no model was found: start a server, or name two models"),
        ([("a-7b", 7e9)], [], "one model was found, llama-server/a-7b@http://127.0.0.1:"),
        ([("a", 7e9), ("b", 7e9)], [], "which of these models is the weak one cannot be told by size"),
        ([], ["--weak", "ollama/a"], "no other model was found: name one with --strong KIND/MODEL"),
        ([("a", 1e9), ("b", 7e9)], ["--weak", "olama/a"], "ollama"),
        ([("a", 1e9), ("b", 7e9)], ["--judge", "likelyhood"], "did you mean 'likelihood'?"),
        ([("a", 1e9), ("b", 7e9)], ["--judge", "embedded"], "trim.toml:"),
    ],
)
def test_what_cannot_be_chosen_is_said(
    models: list[tuple[str, float]],
    options: list[str],
    words: str,
    stack: ExitStack,
    ports: dict[str, tuple[int, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ports["any"] = at(*(llama_server(stack, name, int(parameters)) for name, parameters in models))
    assert main(["init", "--yes", *options]) == 2
    assert words in capsys.readouterr().err
    assert not Path("trim.toml").exists()


def test_keys_are_named_and_never_shown(
    ports: dict[str, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-42")
    assert main(["init", "--yes"]) == 2
    printed = capsys.readouterr()
    assert "OPENAI_API_KEY is set: openai/MODEL can be used" in printed.out
    assert "OPENAI_API_KEY set: openai/MODEL" in printed.err
    arguments = ["init", "--yes", "--weak", "ollama/a", "--strong", "openai/b", "--no-probe", "--force"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert "sk-secret" not in printed.out + printed.err + Path("trim.toml").read_text()
    assert load_config(Path("trim.toml")).strong.api_key_env == "OPENAI_API_KEY"


def test_a_model_that_fails_leaves_the_file_and_says_so(
    stack: ExitStack, ports: dict[str, tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    small = llama_server(stack, "a-1b", 1_000_000_000)
    ports["any"] = at(small, llama_server(stack, "b-7b", 7_000_000_000, solution=" "))
    assert main(["init", "--yes"]) == 2
    printed = capsys.readouterr()
    assert "strong  FAILED: " in printed.out
    assert "trim.toml was written, but strong" in printed.err
    assert Path("trim.toml").exists()


def test_without_a_terminal_it_says_so(
    ports: dict[str, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n"))
    assert main(["init"]) == 2
    assert "this is no terminal: add --yes" in capsys.readouterr().err


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answers", "weak", "strong"), [("\n\n\n", "b-1b", "c-9b"), ("2\n3\n\n", "a-7b", "c-9b")])
def test_questions(
    answers: str,
    weak: str,
    strong: str,
    stack: ExitStack,
    ports: dict[str, tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = (("a-7b", 7), ("b-1b", 1), ("c-9b", 9))
    ports["any"] = at(*(llama_server(stack, name, billions * 10**9) for name, billions in sizes))
    monkeypatch.setattr("sys.stdin", Terminal(answers))
    assert main(["init", "--no-probe"]) == 0
    config = load_config(Path("trim.toml"))
    assert (config.weak.model, config.strong.model) == (weak, strong)


def test_no_as_an_answer_leaves_the_file(
    stack: ExitStack, ports: dict[str, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports["any"] = at(llama_server(stack, "a-7b", 7 * 10**9), llama_server(stack, "b-1b", 10**9))
    Path("trim.toml").write_text("mine")
    for answers in ("\n\n\nn\n", "\n\n\n\n", "\n\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answers))
        assert main(["init", "--no-probe"]) == 2
        assert Path("trim.toml").read_text() == "mine"
    monkeypatch.setattr("sys.stdin", Terminal("\n\n\ny\n"))
    assert main(["init", "--no-probe"]) == 0
    assert Path("trim.toml").read_text() != "mine"
