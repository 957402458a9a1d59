"""The gateway in front of two real models under load: is anything lost, and are tokens counted as the servers do?

    make local   # fetches the pair
    python -m benchmarks.real_gateway --streams 8 --seconds 300

Two llama.cpp servers run in this process, `trim serve` in another one, and clients stream from it one answer after the
other. Afterwards three counts of completion tokens are compared, for each model: the gateway's metrics, the sums of
what its answers said, and llama.cpp's own metrics. Prints JSON. Needs the extras `local` and `serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from trim.backends.gguf import LlamaServer
from trim.tasks import load_task

FOLDER = Path("models/real")
_ROLES = ("weak", "strong")
_CONFIG = """\
[weak]
model = "llama-server/weak@{weak}"
api_key_env = "WEAK_KEY"
[strong]
model = "llama-server/strong@{strong}"
api_key_env = "STRONG_KEY"
[policy]
name = "threshold"
parameter = {threshold}
[serve]
port = {port}
deadline = 900  # seconds: eight solutions at once on two cores
max_requests = {streams}
"""


@dataclass
class Seen:
    """What the clients got."""

    answers: int = 0
    problems: list[str] = field(default_factory=list)
    tokens: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)

    def read(self, lines: list[str]) -> None:
        """Count one streamed answer."""
        chunks = [json.loads(line) for line in lines if line != "[DONE]"]
        whole = lines[-1:] == ["[DONE]"] and "error" not in chunks[-1]
        if not whole:
            self.problems.append(lines[-1][:300] if lines else "nothing came")
            return
        said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        end = next(chunk["trim"] for chunk in reversed(chunks) if "usage" in chunk.get("trim", {}))
        if not said.strip():
            self.problems.append("an answer without text")
        self.answers += 1
        for role in _ROLES:
            used = end["usage"][role]
            self.tokens[role] += used["completion_tokens"]
        self.steps.update(step["role"] for step in end["steps"])


def metric(page: str, name: str) -> float:
    """The value of a metric; 0 where there is none yet."""
    found = re.search(rf"^{re.escape(name)} (\S+)", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


@contextmanager
def gateway(config: Path, keys: dict[str, str], url: str) -> Iterator[None]:
    """`trim serve`, answering."""
    command = [sys.executable, "-m", "trim", "serve", "--config", str(config)]
    process = subprocess.Popen(command, env=os.environ | keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


async def load(url: str, questions: list[str], streams: int, seconds: float) -> Seen:
    """Answers, `streams` at a time, for so long; those that are begun are read to their end."""
    seen, waiting, until = Seen(), iter(questions), time.monotonic() + seconds

    async def client(http: httpx.AsyncClient) -> None:
        while time.monotonic() < until and (question := next(waiting, None)) is not None:
            body = {"model": "trim", "stream": True, "messages": [{"role": "user", "content": question}]}
            try:
                async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                    lines = [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
            except httpx.HTTPError as error:
                seen.problems.append(repr(error))
            else:
                seen.read(lines)

    async with httpx.AsyncClient(timeout=600) as http, asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(client(http))
    return seen


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--weak", type=Path, default=FOLDER / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
    options.add_argument("--strong", type=Path, default=FOLDER / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf")
    options.add_argument("--streams", type=int, default=8)
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--threshold", type=float, default=0.87)
    options.add_argument("--port", type=int, default=18080)
    args = options.parse_args()
    questions = [one.text for one in load_task("gsm_symbolic").questions(2000, 1)]
    url = f"http://127.0.0.1:{args.port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = {
            role: stack.enter_context(closing(LlamaServer(getattr(args, role), slots=args.streams))) for role in _ROLES
        }
        config = folder / "trim.toml"
        addresses = {role: server.base_url for role, server in servers.items()}
        config.write_text(
            _CONFIG.format(**addresses, threshold=args.threshold, port=args.port, streams=args.streams), "utf-8"
        )
        keys = {f"{role.upper()}_KEY": server.api_key for role, server in servers.items()}
        with gateway(config, keys, url):
            began = time.monotonic()
            seen = asyncio.run(load(url, questions, args.streams, args.seconds))
            took = time.monotonic() - began
            page = httpx.get(f"{url}/metrics").text
        found: dict[str, dict[str, float]] = {}
        for role, server in servers.items():
            headers = {"Authorization": f"Bearer {server.api_key}"}
            own = httpx.get(server.base_url.removesuffix("/v1") + "/metrics", headers=headers).text
            written = metric(own, "llamacpp:tokens_predicted_total")
            gateways = metric(page, f'trim_tokens_total{{kind="completion",role="{role}"}}')
            found[role] = {
                "server": written,
                "gateway": gateways,
                "answers": seen.tokens[role],
                "difference_percent": round(100 * (gateways / written - 1), 3) if written else 0.0,
            }
    print(
        json.dumps(
            {
                "streams": args.streams,
                "seconds": round(took, 1),
                "answers": seen.answers,
                "steps": dict(seen.steps),
                "problems": seen.problems,
                "completion_tokens": found,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
