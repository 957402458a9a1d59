"""State, traces and records are for their user alone, whatever the umask is and whatever was there before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.private_files import make_file, make_folder, make_private

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of files are those of POSIX")


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    before = os.umask(request.param)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("umask")
def test_a_file_and_its_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "a" / "b" / "file"
    make_folder(file.parent)
    make_file(file)
    assert [mode(path) for path in (file, file.parent, file.parent.parent)] == [0o600, 0o700, 0o700]
    file.write_text("kept")
    file.chmod(0o664)
    file.parent.chmod(0o755)
    make_folder(file.parent)
    make_file(file)
    assert (mode(file), file.read_text()) == (0o600, "kept")
    assert (mode(file.parent), mode(tmp_path)) == (0o755, 0o755)  # that were there


def test_what_is_no_file_stays_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o640)
    make_file(pipe)
    assert mode(pipe) == 0o640
    make_private(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "in")


@pytest.mark.usefixtures("umask")
def test_what_the_gateway_writes(tmp_path: Path) -> None:
    state, traces = tmp_path / "new" / "state.db", tmp_path / "traces"
    with serving(simulated(state=str(state), record=str(traces / "deep"), record_mb=0.000001, max_tokens=60)) as served:
        for _ in range(2):
            served.post(ask())
        served.spent(2)
        limit = time.monotonic() + 10
        while len(list(traces.rglob("*.jsonl"))) < 2 and time.monotonic() < limit:  # they are written after the charge
            time.sleep(0.01)
        written = list(tmp_path.rglob("*"))
        names = {path.name for path in written}
        assert {"state.db", "state.db-wal", "state.db-shm"} <= names
        assert sum(name.startswith("traces-") for name in names) == 2  # one full, one begun
        assert sum(name.endswith(".lock") for name in names) == 1
        for path in written:
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_files_of_earlier_versions(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with serving(simulated(state=str(state))):
        pass
    state.chmod(0o644)
    with serving(simulated(state=str(state), max_tokens=60)) as served:
        served.post(ask())
        served.spent(1)
        assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
