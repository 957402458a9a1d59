"""GGUF files from the hub, against a server that answers as the hub does."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.hub_server import TOKEN, Hub, hub
from trim.backends import download
from trim.backends.gguf_hub import HubName, cached, choose, fetch
from trim.errors import ConfigError

NAME = "hf:owner/model-GGUF:Q4_K_M"
CONTENT = bytes(range(256)) * 5000
FILES = {"model-q4_k_m.gguf": CONTENT, "model-q8_0.gguf": b"larger", "mmproj-model-Q4_K_M.gguf": b"eyes"}
BF16 = [f"BF16/m-BF16-0000{part}-of-00002.gguf" for part in (1, 2)]
SPLIT = {f"Q4_K_M/big-Q4_K_M-0000{part}-of-00003.gguf": bytes([part]) * 1000 for part in (1, 2, 3)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone, and no waiting."""
    for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TRIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub(dict(FILES)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def got(name: str = NAME) -> Path:
    return asyncio.run(fetch(name))


def refused(name: str = NAME) -> str:
    with pytest.raises(ConfigError) as caught:
        got(name)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_downloaded_once_and_used_without_a_network(ours: Hub, cache: Path) -> None:
    path = got()
    assert (path, path.read_bytes()) == (cache / "hub/owner/model-GGUF/model-q4_k_m.gguf", CONTENT)
    asked = len(ours.requests)
    ours.status = 500
    assert got() == cached(NAME) == path
    assert len(ours.requests) == asked
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_model_in_parts_is_there_with_all_of_them(ours: Hub) -> None:
    ours.files = dict(SPLIT)
    path = got()
    assert path.name == "big-Q4_K_M-00001-of-00003.gguf"
    assert b"".join(file.read_bytes() for file in sorted(path.parent.iterdir())) == b"".join(SPLIT.values())
    (path.parent / "big-Q4_K_M-00002-of-00003.gguf").unlink()
    assert cached(NAME) is None
    assert got() == path


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_goes_on(ours: Hub, ranges: bool) -> None:
    ours.breaks, ours.ranges = [700_000, 300_000], ranges
    assert got().read_bytes() == CONTENT
    assert len(ours.asked_ranges) == 3
    assert ours.asked_ranges[1] != ""


def test_a_later_run_goes_on_where_an_earlier_one_stopped(ours: Hub, cache: Path) -> None:
    ours.breaks = [900_000, *[0] * 20]
    assert "run the command again, it will go on" in refused()
    partial = cache / "hub/owner/model-GGUF/model-q4_k_m.gguf.partial"
    assert 0 < (size := partial.stat().st_size) < len(CONTENT)
    assert cached(NAME) is None
    ours.breaks = []
    assert got().read_bytes() == CONTENT
    assert ours.asked_ranges[-1] == f"bytes={size}-"
    assert not partial.exists()


def test_another_file_than_expected_is_not_kept(ours: Hub, cache: Path) -> None:
    ours.checksums = {"model-q4_k_m.gguf": "0" * 64}
    assert "SHA-256" in refused()
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_a_token_goes_to_the_hub_alone(ours: Hub, monkeypatch: pytest.MonkeyPatch, caplog: object) -> None:
    ours.private = True
    assert "set HF_TOKEN if it is private" in refused()
    monkeypatch.setenv("HF_TOKEN", TOKEN + "\n")
    assert got().read_bytes() == CONTENT
    assert ours.tokens_at_store == [""]


def test_progress_is_said_where_there_is_no_terminal(ours: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        got()
    assert "downloading model-q4_k_m.gguf (0.00 GB)" in caplog.messages


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({"repo": "other/model"}, "there is no model owner/model-GGUF at 127.0.0.1"),
        ({"gated": True}, "accepted its licence"),
        ({"status": 503}, "answered with HTTP 503: try again later"),
        ({"status": 429}, "answered with HTTP 429: try again later"),
        ({"page": "<html>sign in</html>"}, "is HF_ENDPOINT right, is there a login page?"),
        ({"files": {"model.safetensors": b""}}, "has no GGUF files"),
        ({"files": {"model-Q4_K_S.gguf": b"", "model-Q8_0.gguf": b""}}, "did you mean Q4_K_S? There are Q4_K_S, Q8_0"),
        (
            {"files": {"a-Q4_K_M.gguf": b"", "b-Q4_K_M.gguf": b""}},
            "say which, such as hf:owner/model-GGUF:a-Q4_K_M.gguf",
        ),
        ({"files": {"../../evil-Q4_K_M.gguf": b""}}, "is HF_ENDPOINT right"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(ours: Hub, switches: dict[str, object], words: str) -> None:
    for name, value in switches.items():
        setattr(ours, name, value)
    assert words in refused()


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "127.0.0.1 cannot be reached (ConnectError): is there a network?" in refused()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids" in refused()


def test_files_of_other_programs_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "huggingface/hub/models--owner--model-GGUF/snapshots/abc"
    folder.mkdir(parents=True)
    (folder / "model-q4_k_m.gguf").write_bytes(b"GGUF")
    assert got() == folder / "model-q4_k_m.gguf"
    assert "HF_HUB_OFFLINE" in refused("hf:owner/model-GGUF:Q8_0")


def test_a_full_disk_is_said_before_anything_is_fetched(ours: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    assert "set TRIM_CACHE" in refused()
    assert ours.asked_ranges == []


@pytest.mark.parametrize(
    "name", ["hf:", "hf:model:Q4_K_M", "hf:owner/model:", "hf:../..:x", "hf:a/b:../../c", "hf:a/b c"]
)
def test_names_of_another_form_are_refused(name: str) -> None:
    assert "write hf:OWNER/REPO:QUANT" in refused(name)


@pytest.mark.parametrize(
    ("choice", "files", "found"),
    [
        ("Q4_K_M", ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-IQ4_XS.gguf"], ["m-Q4_K_M.gguf"]),
        ("q4_k_m", ["m.Q4_K_M.gguf", "m.Q4_K_M.gguf.md"], ["m.Q4_K_M.gguf"]),
        ("Q4_K_M", ["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"], ["m-Q4_K_M.gguf"]),
        ("UD-Q4_K_XL", ["m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"], ["m-UD-Q4_K_XL.gguf"]),
        ("F16", ["m-BF16.gguf", "m-F16.gguf"], ["m-F16.gguf"]),
        ("BF16", ["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"], BF16),
        ("m-Q4_K_M.gguf", ["m-Q4_K_M.gguf", "n-Q4_K_M.gguf"], ["m-Q4_K_M.gguf"]),
        ("", ["m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"], ["m-Q4_K_M.gguf"]),
        ("", ["strange.gguf"], ["strange.gguf"]),
    ],
)  # fmt: skip
def test_a_quantisation_is_a_whole_word_of_the_name(choice: str, files: list[str], found: list[str]) -> None:
    assert choose(HubName("owner/model", choice), files) == found
