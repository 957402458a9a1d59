"""`trim steps` on files and on standard input."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from trim.cli.main import main

TEXT = "First, add.\n\n### Code\n\n```\nx = 1\n\ny = 2\n```\n\n\\boxed{3}\n\nMore."


def test_steps_with_their_boundaries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "solution.md"
    file.write_text(TEXT)
    assert main(["steps", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "step 2, from line 3\n  | ### Code\n" in shown
    assert "  no step ends at line 4: heading\n  no step ends at line 7: code block\n" in shown
    assert "4 steps, cut at: blank-line\n" in shown
    assert "final answer: 3 (step 3, which ends the solution; 1 more would not be written)" in shown


def test_json_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["steps", "-", "--json", "--separator", "newline", "--answer", "x = \\d"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "".join(step["text"] for step in found["steps"]) == TEXT
    assert (found["separator"], found["ends_with"]) == ("newline", 2)
    assert {"at": 23, "by": "heading"} in found["steps"][1]["held"]


def test_the_configuration_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trim.toml").write_text('[generation]\nseparator = "sentence"\n')
    (tmp_path / "a.txt").write_text("One. Two.\x1b[31m")
    assert main(["steps", str(tmp_path / "a.txt"), "--config", str(tmp_path / "trim.toml")]) == 0
    shown = capsys.readouterr().out
    assert "2 steps, cut at: sentence" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), (b"\xff\xfe\x00", "not a text in UTF-8")])
def test_what_cannot_be_read(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    if content is not None:
        file.write_bytes(content)
    assert main(["steps", str(file)]) == 2
    assert words in capsys.readouterr().err
