"""Model servers on this machine, told apart by what they answer and not by their ports alone.

Ports of loopback are tried at the same time, for a second or two each. A server is asked only what its kind answers
without a model doing anything: which models it has, and how large they are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trim.addresses import Address
from trim.redaction import redact_library_logs

if TYPE_CHECKING:
    from httpx import AsyncClient

Json = Any
"""Whatever a server answers."""

PORTS: Mapping[str, tuple[int, ...]] = {
    "ollama": (11434,),
    "llama-server": tuple(range(8080, 8090)),
    "vllm": tuple(range(8000, 8010)),
    "sglang": tuple(range(30000, 30005)),
    "lm-studio": (1234,),
}
"""Where servers of each kind usually listen; any of them may listen at any of these."""

_CONNECT = 0.5  # seconds
_ANSWER = 3.0
_PATHS = ("/v1/models", "/props", "/get_model_info", "/api/tags", "/api/v0/models", "/version")
_TROUBLE = dict.fromkeys((401, 403), "it wants a key: name its models by hand")
_TROUBLE[503] = "it is still loading its model: try again soon"
_LONGEST = 4_000_000  # bytes of an answer
_SIZE = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_NO_GENERATORS = re.compile(r"embed|rerank|bge-|\be5\b|whisper|tts|clip|nomic|minilm|[:-]cloud$", re.IGNORECASE)
_PRM = re.compile(r"(?<![a-z])prm(?![a-z])|process-reward", re.IGNORECASE)


@dataclass(frozen=True)
class FoundModel:
    """A model that a server has.

    Args:
        kind: of the server, as `trim.config.model_names` calls it.
        name: the server's.
        url: the server's address without `/v1`.
        parameters: how many it has, as the server or its name says.
        size: bytes of its weights, as the server says.
        context: tokens that it can read, as the server says.
        scores: it is a process reward model, by its name, and writes nothing.
    """

    kind: str
    name: str
    url: str
    parameters: float | None = None
    size: int | None = None
    context: int | None = None
    scores: bool = False

    @property
    def full_name(self) -> str:
        """How a configuration names it, `KIND/MODEL@URL`, with user and password if it has any."""
        return f"{self.kind}/{self.name}@{Address(self.url).whole}"

    @property
    def weight(self) -> float:
        """What models are ordered by: their parameters, else as many as their bytes may hold; 0: not known."""
        return self.parameters or (self.size or 0) / 0.6


@dataclass(frozen=True)
class FoundServer:
    """A server that answers; `models` without those that only embed text or run elsewhere. `trouble`: why it lists
    none.
    """

    kind: str
    url: str
    models: tuple[FoundModel, ...] = ()
    trouble: str = ""


async def find_servers(urls: Iterable[str] = (), ports: Mapping[str, Sequence[int]] = PORTS) -> list[FoundServer]:
    """The servers at the usual ports of this machine, and those at `urls`, in the order of their addresses.

    A gateway of TRIM is none: its models are these.
    """
    import httpx

    redact_library_logs()
    local = [Address(f"http://127.0.0.1:{port}") for port in sorted({port for some in ports.values() for port in some})]
    named = [Address(url.rstrip("/").removesuffix("/v1")) for url in urls]
    asked = list(dict.fromkeys([*local, *named]))
    limits, timeout = httpx.Limits(max_connections=None), httpx.Timeout(_ANSWER, connect=_CONNECT)
    # Proxies are for other machines; an address that the user names may need one.
    async with (
        httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as near,
        httpx.AsyncClient(timeout=timeout, limits=limits) as far,
    ):
        found = await asyncio.gather(*(_look(near if url in local else far, url) for url in asked))
    return [server for server in found if server is not None]


async def _look(client: AsyncClient, url: Address) -> FoundServer | None:
    """The server at an address, if one listens there."""
    if not await _listens(url):
        return None
    answers = dict(zip(_PATHS, await asyncio.gather(*(_get(client, url, path) for path in _PATHS)), strict=True))
    return recognised(url, answers)


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(_CONNECT if parts.hostname == "127.0.0.1" else _ANSWER):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _get(client: AsyncClient, url: Address, path: str) -> Json:
    """The JSON that a path at an address answers with; its status where it refuses; None: neither."""
    import httpx

    try:
        asked = client.stream("GET", url + path, headers=url.headers, params=dict(url.parameters) or None)
        async with asyncio.timeout(_ANSWER), asked as response:
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LONGEST:
                    return None
            if response.status_code != 200:
                return response.status_code
        import json

        return json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError, RecursionError):
        return None


def recognised(url: str, answers: Mapping[str, Json]) -> FoundServer | None:
    """Which kind of server answers so, and its models; None: none that has models for routing.

    Args:
        url: its address without `/v1`.
        answers: the JSON by path, a number where that was refused with this status, None where nothing came.
    """
    entries = _entries(answers.get("/v1/models"), "data")
    owners = {str(entry.get("owned_by")) for entry in entries}
    if "trim" in owners:
        return None
    kind = _kind(answers, owners)
    if kind is None:
        status = answers.get("/v1/models")
        trouble = _TROUBLE.get(status, "") if isinstance(status, int) else ""
        return FoundServer("generic", url, trouble=trouble) if trouble else None
    found = [_model(kind, url, entry, answers) for entry in entries]
    return FoundServer(kind, url, tuple(model for model in found if not _NO_GENERATORS.search(model.name)))


def _kind(answers: Mapping[str, Json], owners: set[str]) -> str | None:
    """llama-server has Ollama's `/api/tags` too, and SGLang may have vLLM's `/version`: the rarer signs come first."""
    listed = isinstance(answers.get("/v1/models"), dict)
    if not listed:
        return None
    props = answers.get("/props")
    if "llamacpp" in owners or (isinstance(props, dict) and "default_generation_settings" in props):
        return "llama-server"
    if "sglang" in owners or "model_path" in _object(answers.get("/get_model_info")):
        return "sglang"
    if "vllm" in owners:
        return "vllm"
    if _entries(answers.get("/api/v0/models"), "data"):
        return "lm-studio"
    if isinstance(_object(answers.get("/api/tags")).get("models"), list):
        return "ollama"
    if isinstance(_object(answers.get("/version")).get("version"), str):
        return "vllm"
    return "llama-cpp-python" if owners == {"me"} else "generic"


def _model(kind: str, url: str, entry: dict[str, Json], answers: Mapping[str, Json]) -> FoundModel:
    """A model of the list, with what the server says of it elsewhere."""
    name = str(entry.get("id"))
    if kind == "llama-server" and len(_entries(answers.get("/v1/models"), "data")) == 1:  # it takes any name
        name = name.rpartition("/")[2].removesuffix(".gguf")
    meta = _object(entry.get("meta"))
    tag = _named(_entries(answers.get("/api/tags"), "models"), "name", name)
    state = _named(_entries(answers.get("/api/v0/models"), "data"), "id", name)
    settings = _object(_object(answers.get("/props")).get("default_generation_settings"))
    said = _number(meta.get("n_params")) or _parameters(str(_object(tag.get("details")).get("parameter_size", "")))
    contexts = (settings.get("n_ctx"), entry.get("max_model_len"), state.get("loaded_context_length"))
    context = next((int(number) for value in contexts if (number := _number(value))), None)
    size = _number(meta.get("size")) or _number(tag.get("size"))
    return FoundModel(
        kind,
        name,
        url,
        said or _parameters(name),
        None if size is None else int(size),
        context,
        scores=bool(_PRM.search(name)),
    )


def _parameters(text: str) -> float | None:
    """The parameters that a name or a text such as `494.03M` or `8x7B` speaks of, the largest of several."""
    found = [
        int(times or 1) * float(number) * (1e9 if unit in "bB" else 1e6)
        for times, number, unit in _SIZE.findall(text.replace("_", "-"))
    ]
    return max(found, default=None)


def _entries(answer: Json, name: str) -> list[dict[str, Json]]:
    values = _object(answer).get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _named(entries: Iterable[dict[str, Json]], key: str, name: str) -> dict[str, Json]:
    return next((entry for entry in entries if entry.get(key) == name), {})


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
