"""Secrets planted wherever one can be configured are looked for in everything that is printed, logged, written or sent
to a client, while all goes well and while the server repeats them in its errors.
"""

from __future__ import annotations

import io
import json
import logging
import secrets
import sys
import traceback
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.backends.fake_server import Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import ask, serving
from trim.cli.main import main
from trim.config.loading import load_config
from trim.server.gateway import open_gateway

QUESTION = {"id": "q1", "question": "Tom has 3 apples and buys 4 more. How many has he?", "answer": "7"}


@dataclass
class Planted:
    """A configuration full of secrets, and all that was seen since."""

    folder: Path
    url: str
    habits: Habits
    config: Path
    secrets: dict[str, str]
    seen: dict[str, str] = field(default_factory=dict)
    logs: io.StringIO = field(default_factory=io.StringIO)

    def check(self, what: str, text: str) -> None:
        """Keep a text, and look for secrets in it."""
        self.seen[what] = text
        found = {name for name, secret in self.secrets.items() for form in forms(secret) if form in text}
        assert found == set(), f"{what} has {found}: {text[:3000]}"

    def check_all(self) -> None:
        """Look for secrets in the log and in all files that were written."""
        self.check("the log", self.logs.getvalue())
        for path in self.folder.rglob("*"):
            if path.is_file() and path != self.config:
                self.check(path.name, path.read_bytes().decode("utf-8", "replace"))


def forms(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    names = ["weak user", "weak password", "strong password", "judge password", "query", "header", "team", "key"]
    made = {name: f"{name.replace(' ', '-')}-{secrets.token_hex(4)}@/:?{secrets.token_hex(4)}" for name in names}
    made |= {name: f"{name}-{secrets.token_hex(8)}" for name in ("header", "team", "key")}
    monkeypatch.setenv("PLANTED_KEY", made["key"])
    monkeypatch.setenv("PLANTED_TEAM", made["team"])
    monkeypatch.chdir(tmp_path)
    with fake_serving() as habits:
        host = habits.url.removeprefix("http://")
        safe = {name: quote(secret, safe="") for name, secret in made.items()}
        text = f"""
[weak]
model = "vllm/m"
base_url = "http://{safe["weak user"]}:{safe["weak password"]}@{host}/v1?key={safe["query"]}"
retries = 0
headers = {{ X-Token = "{made["header"]}", X-Team = "Bearer ${{PLANTED_TEAM}}" }}
[strong]
model = "vllm/m@http://me:{safe["strong password"]}@{host}/v1"
api_key_env = "PLANTED_KEY"
retries = 0
[prm]
backend = "yes-no"
model = "m"
base_url = "http://me:{safe["judge password"]}@{host}/v1"
api_key_env = "PLANTED_KEY"
retries = 0
[serve]
record = "traces"
state = "state.db"
"""
        config = tmp_path / "planted.toml"
        config.write_text(text)
        (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
        basic = {
            f"{name} in a header": b64encode(f"{user}:{made[name]}".encode()).decode()
            for name, user in (("weak password", made["weak user"]), ("strong password", "me"))
        }
        found = Planted(tmp_path, habits.url, habits, config, made | basic)
        handler = logging.StreamHandler(found.logs)
        handler.setFormatter(logging.Formatter("%(name)s %(message)s"))  # as anybody may log what libraries say
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield found
        finally:
            root.removeHandler(handler)
            root.setLevel(level)


def run(planted: Planted, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> None:
    """A command, and what it prints."""
    assert main([*arguments]) == code, capsys.readouterr()
    printed = capsys.readouterr()
    planted.check(f"trim {arguments[0]}", printed.out + printed.err)


def repeated(planted: Planted) -> str:
    """What a server may say that repeats all it was sent."""
    return " ".join([*planted.secrets.values(), *map(quote, planted.secrets.values())])


def test_commands(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(planted.config)]
    run(planted, capsys, "config", "check", str(planted.config), "--probe")
    run(planted, capsys, "config", "check", str(planted.config), "--probe", "--json")
    run(planted, capsys, "solve", *config, "--policy", "always-strong", QUESTION["question"])
    task = str(planted.folder / "questions.jsonl")
    run(planted, capsys, "eval", *config, "--task", task, "--policies", "threshold", "--out", "run")
    run(planted, capsys, "report", "run")
    sent = [headers.get("authorization", "") for headers in planted.habits.headers]
    assert {header.partition(" ")[0] for header in sent} == {"Basic"}  # they do reach the server
    assert any(headers.get("x-token") == planted.secrets["header"] for headers in planted.habits.headers)
    assert (planted.folder / "run" / "report.html").is_file()
    planted.check_all()
    assert "HTTP Request: POST" in planted.logs.getvalue()


def test_failures(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    config, question = ["--config", str(planted.config)], QUESTION["question"]
    planted.habits.message = repeated(planted)
    for status in (400, 401, 429, 500):
        planted.habits.statuses[:] = [status] * 6
        run(planted, capsys, "solve", *config, "--policy", "always-weak", question, code=2)
    planted.habits.statuses[:] = [401] * 20
    run(planted, capsys, "config", "check", str(planted.config), "--probe", code=2)
    planted.habits.statuses[:] = [401] * 20
    with pytest.raises(Exception, match="401"):
        main(["--debug", "solve", *config, "--policy", "always-strong", question])
    planted.check("a traceback", "".join(traceback.format_exception(*sys.exc_info())))
    planted.habits.statuses[:] = []
    planted.check_all()


def test_wrong_addresses(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    secret = planted.secrets["weak password"]
    for place in (f"ftp://me:{secret}@host", f"me:{secret}@host:1", f"http://me:{secret}@[::1", f"//me:{secret}@host"):
        (planted.folder / "wrong.toml").write_text(f'[weak]\nbackend = "vllm"\nmodel = "m"\nbase_url = "{place}"\n')
        run(planted, capsys, "config", "check", "wrong.toml", code=2)
        (planted.folder / "wrong.toml").unlink()
    for name in (f"vllm/@http://me:{secret}@host/v1", f"http://me:{secret}@host/v1", f"vlm/m@http://me:{secret}@host"):
        run(planted, capsys, "solve", "--weak", name, "--strong", name, "q", code=2)
    for key in (planted.secrets["key"], f"gsk_{secrets.token_hex(20)}"):
        planted.secrets["in place of a name"] = key
        table = '[weak]\nmodel = "vllm/m"\n[strong]\nmodel = "vllm/n"\n'
        (planted.folder / "wrong.toml").write_text(f'{table}api_key_env = "{key}"\n')
        run(planted, capsys, "config", "check", "wrong.toml", code=2)
        (planted.folder / "wrong.toml").unlink()


def test_init(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    server = planted.url.replace("http://", f"http://me:{quote(planted.secrets['weak password'], safe='')}@")
    planted.habits.models = [{"id": f"m-{size}b", "owned_by": "vllm"} for size in (1, 7)]
    run(planted, capsys, "init", "--yes", "--json", "--server", server, "--out", "made.toml")
    run(planted, capsys, "init", "--yes", "--force", "--server", server, "--out", "made.toml")
    made = planted.folder / "made.toml"
    assert quote(planted.secrets["weak password"], safe="") in made.read_text()  # else it would be of no use
    assert made.stat().st_mode & 0o777 == 0o600
    made.unlink()
    planted.check_all()


@pytest.mark.parametrize("exposed", [False, True])
def test_the_gateway(planted: Planted, exposed: bool) -> None:
    config = load_config(planted.config, {"TRIM_SERVE__EXPOSE_UPSTREAM_ERRORS": str(exposed).lower()})
    with serving(lambda: open_gateway(config)) as served:

        def answers(what: str) -> None:
            for path, body in (("chat/completions", ask()), ("responses", {"model": "trim", "input": "q"})):
                for stream in (False, True):
                    answer = served.post(body | {"stream": stream}, path=f"/v1/{path}")
                    planted.check(f"{what} {path}", f"{answer.status_code} {answer.headers} {answer.text}")
            for path in ("/", "/docs", "/readyz", "/metrics", "/v1/models", "/v1/trim/recent", "/openapi.json"):
                planted.check(path, served.get(path).text)
            assert exposed or planted.url.removeprefix("http://") not in "".join(planted.seen.values())

        answers("an answer")
        planted.habits.message = repeated(planted)
        for status in (400, 401, 429, 500):
            planted.habits.statuses[:] = [status] * 40
            answers(f"a {status}")
        planted.habits.statuses[:] = []
    log: Any = planted.logs.getvalue()
    assert "answered 401" in log and planted.url in log  # the owner is told
    planted.check_all()
