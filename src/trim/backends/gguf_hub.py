"""GGUF files from the Hugging Face hub: `hf:OWNER/REPO:QUANT`, such as `hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M`.

A file is downloaded once, into `TRIM_CACHE` (default: `~/.cache/trim`), and used from there without a network. What
other programs have put into the hub's own cache (`HF_HUB_CACHE`, `HF_HOME`) is used, never written: its layout is the
hub library's. That library is not used: it neither resumes the download of an earlier run nor checks SHA-256.

Variables are the hub's own: `HF_ENDPOINT` (another address), `HF_TOKEN` (for files that need an account; never shown),
`HF_HUB_OFFLINE`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trim.backends.download import Remote, download, refusal
from trim.backends.environment import check_connections, usable_key
from trim.errors import ConfigError

if TYPE_CHECKING:
    import httpx

PREFIX = "hf:"
_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<choice>[\w.-]+(?:/[\w.-]+)*))?")
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_QUANT = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_\w+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|F16|F32|FP16))$", re.IGNORECASE
)
_USUAL = ("Q4_K_M", "Q8_0")  # where a name says nothing, as llama.cpp has it
_SHOWN = 12


@dataclass(frozen=True)
class HubName:
    """A repository and what is wanted of it: a quantisation or a file's name; empty: the usual quantisation."""

    repo: str
    choice: str

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Raises:
        ConfigError: it has another form.
        """
        match = _NAME.fullmatch(text)
        if match is None or ".." in text:
            raise ConfigError(f"{text!r}: write hf:OWNER/REPO:QUANT, such as hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M")
        return cls(match["repo"], match["choice"] or "")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; `path`: its name there, with folders."""

    path: str
    size: int
    sha256: str | None


def is_gguf(name: str) -> bool:
    """Whether a model is named as a GGUF file, here or of the hub."""
    return name.endswith(".gguf") or is_hub_name(name)


def is_hub_name(model: str) -> bool:
    """Whether a model is named by where it is on the hub."""
    return model.startswith(PREFIX)


def cached(text: str) -> Path | None:
    """The file (of several parts the first) of `hf:OWNER/REPO:QUANT` that is here already.

    Raises:
        ConfigError: the name has another form.
    """
    name = HubName.parse(text)
    for folder in _folders(name):
        here = [file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf") if file.is_file()]
        try:
            files = choose(name, here)
        except ConfigError:  # others of the repository are here
            continue
        if all(_parts_of(file) <= set(files) for file in files):
            return folder / files[0]
    return None


async def fetch(text: str) -> Path:
    """The same, downloaded if it is not here.

    Raises:
        ConfigError: the hub cannot be reached, or has no such file; says what to do.
    """
    import httpx

    if (here := cached(text)) is not None:
        return here
    name, endpoint = HubName.parse(text), os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ConfigError(f"{text} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it: unset it")
    if not re.match(r"https?://[^/]", endpoint):
        raise ConfigError("HF_ENDPOINT is not an http(s) address: correct it or unset it")
    check_connections()
    folder = _own_folder(name)
    client = httpx.AsyncClient(follow_redirects=True, max_redirects=5, timeout=30.0, headers=_headers())
    async with client:
        commit, files = await _listed(client, endpoint, name, text)
        chosen = set(choose(name, [file.path for file in files]))
        for file in sorted((file for file in files if file.path in chosen), key=lambda file: file.path):
            if not (target := folder / file.path).is_file():
                url = f"{endpoint}/{name.repo}/resolve/{quote(commit)}/{quote(file.path)}"
                await download(client, Remote(PurePosixPath(file.path).name, url, file.size, file.sha256), target)
    return folder / min(chosen)


def choose(name: HubName, files: Iterable[str]) -> list[str]:
    """The file that is wanted, or all of its parts.

    Raises:
        ConfigError: there is none, or several; says what there is.
    """
    models: dict[str, list[str]] = {}
    for file in sorted(files):
        path = PurePosixPath(file)
        if path.suffix == ".gguf" and not path.name.lower().startswith(("mmproj", "imatrix")):
            models.setdefault(_PART.sub("", file.removesuffix(".gguf")), []).append(file)
    if not models:
        raise ConfigError(
            f"{name.repo} has no GGUF files: its owner, or another, may have a repository {name.repo}-GGUF"
        )
    wanted = name.choice.lower().removesuffix(".gguf")
    exact = [stem for stem in models if wanted in (stem.lower(), stem.lower().rpartition("/")[2])]
    found = exact or [stem for stem in models if wanted and _quant(stem).lower() == wanted]
    if not wanted:
        by_quant = {_quant(stem): [stem] for stem in models}
        found = list(models) if len(models) == 1 else next((by_quant[q] for q in _USUAL if q in by_quant), [])
    if len(found) == 1:
        return models[found[0]]
    raise ConfigError(_several(name, sorted(found)) if found else _none(name, list(models)))


def _several(name: HubName, found: Sequence[str]) -> str:
    return f"{name.repo} has several files {name.choice}: say which, such as hf:{name.repo}:{found[0]}.gguf"


def _none(name: HubName, stems: Sequence[str]) -> str:
    known = sorted({_quant(stem) or f"{stem}.gguf" for stem in stems})
    near = difflib.get_close_matches(name.choice.upper(), known, 1)
    there = f"did you mean {near[0]}? There are" if near else "there are"
    more = ", ..." if len(known) > _SHOWN else ""
    what = f"no {name.choice}" if name.choice else "no Q4_K_M: say which file"
    return f"{name.repo} has {what}; {there} {', '.join(known[:_SHOWN])}{more}"


def _quant(stem: str) -> str:
    match = _QUANT.search(stem)
    return match[1].upper() if match else ""


def _parts_of(file: str) -> set[str]:
    """All parts of the model that a file is a part of."""
    stem = file.removesuffix(".gguf")
    match = _PART.search(stem)
    if match is None:
        return {file}
    begin = stem[: match.start()]
    return {f"{begin}-{part:05d}-of-{match[2]}.gguf" for part in range(1, int(match[2]) + 1)}


def _own_folder(name: HubName) -> Path:
    root = os.environ.get("TRIM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "trim"
    return Path(root).expanduser() / "hub" / name.repo


def _folders(name: HubName) -> list[Path]:
    """Where files of a repository may lie: our own folder, and snapshots in the hub library's cache."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    return [_own_folder(name), *sorted((hub / f"models--{name.repo.replace('/', '--')}" / "snapshots").glob("*"))]


def _headers() -> dict[str, str]:
    key = os.environ.get("HF_TOKEN", "").strip()
    return {"Authorization": f"Bearer {usable_key(key, 'HF_TOKEN')}"} if key else {}


async def _listed(client: httpx.AsyncClient, endpoint: str, name: HubName, text: str) -> tuple[str, list[HubFile]]:
    """The commit that a repository is at, and its files."""
    import httpx

    try:
        answer = await client.get(f"{endpoint}/api/models/{name.repo}", params={"blobs": "true"})
    except httpx.HTTPError as error:
        raise ConfigError(
            f"{text} is not on this machine, and {httpx.URL(endpoint).host} cannot be reached "
            f"({type(error).__name__}): is there a network? A file that is here is gguf/FILE.gguf"
        ) from None
    if answer.status_code in (401, 404):
        fix = "may HF_TOKEN read it?" if os.environ.get("HF_TOKEN") else "or set HF_TOKEN if it is private"
        raise ConfigError(f"there is no model {name.repo} at {httpx.URL(endpoint).host}: check its name, {fix}")
    if answer.status_code == 403:
        raise ConfigError(
            f"{name.repo} is given to those who accepted its licence: do so at {endpoint}/{name.repo}, and set HF_TOKEN"
        )
    if answer.status_code != 200:
        raise ConfigError(f"{text}: {refusal(answer)}: try again later")
    try:
        found: Any = answer.json()
        return str(found["sha"]), [_file(entry) for entry in found["siblings"]]
    except (KeyError, TypeError, ValueError):
        words = "answered with something else than a list of files: is HF_ENDPOINT right, is there a login page?"
        raise ConfigError(f"{text}: {httpx.URL(endpoint).host} {words}") from None


def _file(entry: dict[str, Any]) -> HubFile:
    """Raises:
    ValueError: a name that would leave the folder.
    """
    path, large = str(entry["rfilename"]), entry.get("lfs") or {}
    if not path or path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ValueError(path)
    return HubFile(path, int(large.get("size") or entry.get("size") or 0), large.get("sha256"))
