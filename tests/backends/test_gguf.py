"""GGUF files in this process, with a stand-in for llama.cpp. The tests of real models are in tests/real."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.backends.gguf_files import write_model
from tests.backends.llama_stand_in import StandIn, install
from trim.backends import gguf
from trim.backends.gguf import LlamaServer, Wanted, running, serving
from trim.backends.machine import Machine
from trim.errors import ConfigError, MissingExtra


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """llama.cpp's stand-in, on a machine with 4 cores and 8 GB."""
    monkeypatch.setattr(gguf, "this_machine", lambda: Machine(4, 8_000_000_000, 8_000_000_000))
    return install(monkeypatch)


def served(wanted: Sequence[Wanted], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Serve files, and do something meanwhile."""

    async def run() -> None:
        async with serving(wanted):
            meanwhile()

    asyncio.run(run())


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"trim-router\[local\]"):
        LlamaServer(tmp_path / "model.gguf")
    with pytest.raises(MissingExtra, match=r"trim-router\[local\]"):
        served([Wanted("weak", write_model(tmp_path / "m.gguf"))])


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"PK\3\4 a zip", "is not a GGUF file")])
def test_refuses_what_is_no_model(tmp_path: Path, llama: StandIn, content: bytes | None, words: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        LlamaServer(path)
    with pytest.raises(ConfigError, match=words):
        served([Wanted("weak", path)])
    assert running(path) is None


def test_one_server_for_a_file_whatever_its_roles_and_names(
    tmp_path: Path, llama: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    path, link = write_model(tmp_path / "model.gguf"), tmp_path / "link.gguf"
    link.symlink_to(path)

    def meanwhile() -> None:
        assert running(path) is running(link) is not None

    with caplog.at_level(logging.INFO):
        served([Wanted("weak and judge", path), Wanted("strong and judge", link, slots=6, threads=3)], meanwhile)
    assert [(p.n_parallel, p.n_ctx, p.cpuparams.n_threads) for p in llama.started] == [(6, 6 * 8192, 3)]
    assert llama.stopped == [str(path)]
    (line,) = caplog.messages
    assert line.startswith(
        "gguf: weak and strong and judge model (0.00 GB), 3 threads, 6 slots of 8,192 tokens, 0.6 GB"
    )


def test_two_models_share_the_machine(tmp_path: Path, llama: StandIn) -> None:
    files = [write_model(tmp_path / f"{role}.gguf") for role in ("weak", "strong")]

    def meanwhile() -> None:
        assert len({parameters.api_keys[0] for parameters in llama.started}) == 2
        assert all(parameters.hostnames == ["127.0.0.1"] for parameters in llama.started)
        assert llama.stopped == []

    served([Wanted(file.stem, file) for file in files], meanwhile)
    assert llama.stopped == [str(file) for file in reversed(files)]


def test_who_opens_a_file_again_shares_its_server(tmp_path: Path, llama: StandIn) -> None:
    path = write_model(tmp_path / "model.gguf")

    async def run() -> None:
        async with serving([Wanted("weak", path)]):
            async with serving([Wanted("judge", path)]):
                assert len(llama.started) == 1
            assert llama.stopped == []
            assert running(path) is not None

    asyncio.run(run())
    assert llama.stopped == [str(path)]
    assert running(path) is None


def test_who_is_interrupted_between_two_files_loads_no_more(tmp_path: Path, llama: StandIn) -> None:
    files = [write_model(tmp_path / f"{role}.gguf") for role in ("weak", "strong")]

    async def run() -> None:
        task = asyncio.ensure_future(serving([Wanted(file.stem, file) for file in files]).__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert len(llama.started) == len(llama.stopped) == 1


def test_nothing_is_left_when_a_model_cannot_be_loaded(tmp_path: Path, llama: StandIn) -> None:
    good, bad = write_model(tmp_path / "good.gguf"), write_model(tmp_path / "bad.gguf")
    llama.refuses.add(str(bad))
    with pytest.raises(ConfigError, match=r"bad.gguf: llama.cpp cannot load it: failed to load model"):
        served([Wanted("weak", good), Wanted("strong", bad)])
    assert llama.stopped == [str(good)]
    assert running(good) is None


def test_nothing_is_loaded_when_the_pair_does_not_fit(
    tmp_path: Path, llama: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "this_machine", lambda: Machine(4, 500_000_000, 350_000_000))
    files = [write_model(tmp_path / f"{role}.gguf") for role in ("weak", "strong")]
    with pytest.raises(ConfigError, match="not enough memory"):
        served([Wanted(file.stem, file) for file in files])
    assert llama.started == []


def test_threads_that_wait_sleep_unless_the_user_says_otherwise(
    llama: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    gguf.require_engine()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    gguf.require_engine()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
