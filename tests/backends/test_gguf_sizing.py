"""Threads, slots, context and memory for models and machines that are written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.gguf_files import write_gguf, write_model
from trim.backends.gguf_sizing import Asked, GgufFile, Size, sizes
from trim.backends.machine import Machine
from trim.errors import ConfigError
from trim.gguf_head import GgufModel

GB = 1_000_000_000
CHOSEN: Asked = (None, None, None)


def file(weights: float, token_bytes: int = 12_288, context: int | None = 32_768, role: str = "weak") -> GgufFile:
    """A file of so many GB."""
    model = GgufModel("qwen2", context, token_bytes, 152_000, 1)
    return GgufFile(role, Path(f"/models/qwen-{weights:g}b-q4_k_m.gguf"), model, int(weights * GB))


def machine(free: float, cores: int = 2) -> Machine:
    return Machine(cores, 2 * int(free * GB), int(free * GB))


def sized(free: float, *files: GgufFile, asked: Asked = CHOSEN) -> list[Size]:
    return sizes(files, [asked] * len(files), machine(free))


def test_what_is_said_at_the_start() -> None:
    (size,) = sized(16, file(0.491))
    assert size.words() == (
        "weak qwen-0.491b-q4_k_m (0.49 GB), 2 threads, 4 slots of 8,192 tokens, 0.4 GB of memory for context"
    )


@pytest.mark.parametrize(
    ("free", "slots", "context"), [(16, 4, 8192), (7.6, 4, 4096), (6.7, 4, 2048), (6.2, 2, 2048), (5.9, 1, 2048)]
)
def test_less_memory_gives_less_context_and_then_fewer_slots(free: float, slots: int, context: int) -> None:
    (size,) = sized(free, file(5, 57_344))
    assert (size.slots, size.context) == (slots, context)


def test_a_model_reads_no_more_than_it_was_trained_for() -> None:
    (size,) = sized(16, file(1, context=2048))
    assert (size.slots, size.context) == (4, 2048)


def test_each_model_computes_on_all_cores() -> None:
    assert [size.threads for size in sizes([file(1), file(2)], [CHOSEN] * 2, machine(16, cores=6))] == [6, 6]


def test_what_is_asked_for_is_done() -> None:
    (size,) = sized(16, file(1), asked=(7, 3, 1000))
    assert (size.threads, size.slots, size.context) == (7, 3, 1000)


def test_too_little_memory_is_one_sentence_with_numbers_and_the_fix() -> None:
    with pytest.raises(ConfigError) as caught:
        sized(12, file(5, 57_344), file(9, 98_304, role="strong and judge"))
    assert str(caught.value) == (
        "not enough memory: 15.1 GB are needed and 11.8 GB of 24.0 GB are free ([weak] qwen-5b-q4_k_m: 5.0 GB of "
        "weights, 0.1 GB for 1 x 2,048 tokens, 0.4 GB to compute; [strong] qwen-9b-q4_k_m: 9.0 GB of weights, 0.2 GB "
        "for 1 x 2,048 tokens, 0.4 GB to compute): take a smaller model or quantisation (such as Q4_K_M), or end other "
        "programs"
    )


def test_what_is_asked_for_may_be_too_much() -> None:
    with pytest.raises(ConfigError, match="lower slots or context"):
        sized(4, file(1, 57_344), asked=(None, 8, 32_768))


def test_weights_that_are_served_already_are_not_free() -> None:
    with pytest.raises(ConfigError, match="not enough memory"):
        sizes([file(5)], [CHOSEN], machine(8), taken=3 * GB)


def test_more_context_than_a_model_can_read() -> None:
    with pytest.raises(ConfigError) as caught:
        sized(16, file(1, role="strong and judge"), asked=(None, None, 65_536))
    assert str(caught.value).startswith("[strong] context = 65,536: qwen-1b-q4_k_m can read 32,768 tokens; set context")


@given(
    st.lists(st.tuples(st.floats(0.1, 40), st.integers(1_000, 500_000)), min_size=1, max_size=3),
    st.floats(0.5, 200),
    st.integers(1, 64),
)
def test_what_is_chosen_fits(models: list[tuple[float, int]], free: float, cores: int) -> None:
    files = [file(weights, token_bytes) for weights, token_bytes in models]
    try:
        found = sizes(files, [CHOSEN] * len(files), machine(free, cores))
    except ConfigError as error:
        assert re.match("not enough memory", str(error))
        return
    assert sum(size.file.fixed + size.cache + size.spare * 1_000_000 for size in found) <= free * GB
    assert all(size.context >= 2048 and size.slots >= 1 and 1 <= size.threads <= cores for size in found)


def test_a_file_from_its_head(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model-q4_k_m.gguf")
    found = GgufFile.read("weak", path)
    assert (found.name, found.weights, found.model.token_bytes) == ("model-q4_k_m", path.stat().st_size, 12_288)


def test_parts_count_together_and_must_be_there(tmp_path: Path) -> None:
    first, second = (tmp_path / f"big-0000{part}-of-00002.gguf" for part in (1, 2))
    write_model(first, split__count=2)
    with pytest.raises(ConfigError, match=r"one of 2 parts, and big-00002-of-00002\.gguf is not beside it"):
        GgufFile.read("weak", first)
    second.write_bytes(b"GGUF" + b"x" * 1000)
    found = GgufFile.read("weak", first)
    assert (found.name, found.weights) == ("big", first.stat().st_size + 1004)


def test_what_is_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[weak\] .*lora.gguf holds no language model"):
        GgufFile.read("weak and judge", write_gguf(tmp_path / "lora.gguf", general__architecture="llama"))
