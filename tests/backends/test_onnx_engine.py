"""The in-process engine: its numbers are bit-identical."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.backends.tiny import WEAK, reference_logits
from trim.backends.onnx_engine import Array, Engine, Job
from trim.errors import BackendError, ConfigError, InputTooLong


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(WEAK)


def texts(count: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, 2000, size=int(rng.integers(20, 300))).tolist() for _ in range(count)]


def read(engine: Engine, ids: list[list[int]], split: int = 10) -> list[Array]:
    """Outputs after the last token of each text, all texts at once."""
    jobs = [Job(engine.cache(), [t[:split], t[split:]], [[], [len(t) - split - 1]]) for t in ids]
    return [future.result() for future in [engine.submit(job) for job in jobs]]


def forced(engine: Engine, ids: list[list[int]], decoded: int) -> list[list[Array]]:
    """Outputs of the last tokens of each text, fed one by one as a draft would be."""
    seen: list[list[Array]] = []
    futures = []
    for text in ids:
        rows: list[Array] = []
        seen.append(rows)

        def step(outputs: Array, rows: list[Array] = rows, text: list[int] = text) -> int | None:
            rows.append(outputs.copy())
            return text[len(text) - decoded + len(rows) - 1] if len(rows) <= decoded else None

        begin = text[: len(text) - decoded]
        futures.append(engine.submit(Job(engine.cache(), [begin], [[len(begin) - 1]], step)))
    for future in futures:
        future.result()
    return seen


def test_agrees_with_a_plain_forward_pass(engine: Engine) -> None:
    for text in texts(3):
        expected = reference_logits(WEAK, text)
        assert np.abs(read(engine, [text])[0][0] - expected[-1]).max() < 2e-3
        rows = forced(engine, [text], 8)[0]
        assert np.abs(np.array(rows) - expected[-9:]).max() < 2e-3


@pytest.mark.parametrize("together", [1, 2, 7, 33])
def test_a_row_does_not_depend_on_its_batch(engine: Engine, together: int) -> None:
    ids = texts(64)
    whole_read, whole_forced = read(engine, ids), forced(engine, ids, 12)
    for i, row in enumerate(read(engine, ids[:together])):
        assert (row == whole_read[i]).all()
    for i, rows in enumerate(forced(engine, ids[:together], 12)):
        assert (np.array(rows) == np.array(whole_forced[i])).all()


def test_a_kept_cache_gives_the_same_bits_and_reads_only_what_is_new(engine: Engine) -> None:
    pieces = [text[:40] for text in texts(5)]
    fresh = engine.submit(Job(engine.cache(), pieces, [[], [], [], [], [39]])).result()
    cache = engine.cache()
    for length in range(1, 6):
        picks: list[list[int]] = [[] for _ in range(length - 1)] + [[39]]
        kept = engine.submit(Job(cache, pieces[:length], picks)).result()
        assert cache.pieces == pieces[:length]
    assert (kept == fresh).all()
    # Another continuation: what no longer fits is dropped.
    other = [*pieces[:2], pieces[4]]
    again = engine.submit(Job(cache, other, [[], [], [39]])).result()
    assert (again == engine.submit(Job(engine.cache(), other, [[], [], [39]])).result()).all()


def test_long_pieces_are_cut(engine: Engine) -> None:
    text = (texts(1)[0] * 40)[:700]
    assert np.abs(read(engine, [text])[0][0] - reference_logits(WEAK, text)[-1]).max() < 5e-3


def test_too_long_is_an_error(engine: Engine) -> None:
    with pytest.raises(InputTooLong, match="4096"):
        engine.submit(Job(engine.cache(), [[5] * 4097], [[4096]]))


def test_an_error_belongs_to_its_job(engine: Engine) -> None:
    def fail(outputs: Array) -> int | None:
        raise ValueError("no")

    with pytest.raises(Exception, match="no"):
        engine.submit(Job(engine.cache(), [[5, 6]], [[1]], fail)).result()
    assert len(read(engine, texts(2))) == 2


def test_closing_ends_the_thread_and_reopening_works() -> None:
    engine = Engine(WEAK)
    read(engine, texts(2))
    engine.close()
    engine.close()
    assert len(read(engine, texts(2))) == 2
    engine.close()


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        Engine(tmp_path)
    folder = tmp_path / "mixed"
    shutil.copytree(WEAK, folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"qwen3"', '"llama"'))
    with pytest.raises(ConfigError, match="llama"):
        Engine(folder)
    (folder / "config.json").write_text(text)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be read"):
        Engine(folder)


def test_a_job_cancelled_meanwhile_does_not_stop_others(engine: Engine) -> None:
    """The event loop's thread may cancel between any two lines of the engine's."""
    job = Job(engine.cache(), [[1, 2]], [[1]])
    assert job.future.cancel()
    job.resolve()
    job.fail(BackendError("engine", "broke"))
    assert job.future.cancelled()
    assert read(engine, texts(2))
