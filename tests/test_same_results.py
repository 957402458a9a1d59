"""The comparison of two source trees finds what differs, and nothing where only names have changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.same_results import compare, main, read, table

COUNTS = dict.fromkeys(("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "discarded_tokens"), 3)
RULE = {"measured": dict.fromkeys(("weak", "strong", "prm"), COUNTS)}  # counted by rule, and measured apart
STEP = {"text": "One.", "tokens": 4, "finish": "separator", "prompt_tokens": 9, "cached_tokens": 0}
COMMON = {
    "parameter": 0.5, "seed": 7, "stop_reason": "final_answer", "answer": "1", "correct": True, "fallbacks": [],
    "cost": 0.25, "usage": dict.fromkeys(("weak", "strong", "prm"), COUNTS),
}  # fmt: skip


def earlier() -> dict[str, Any]:
    """A solution in schema 1: a draft asked for again, and a strong text written again."""
    weak, strong = STEP | {"author": "weak"}, STEP | {"author": "strong"}
    rejected = [
        weak | {"action": "RETRY", "score": 0.1},
        weak | {"action": "REGENERATE", "score": 0.2},
        strong | {"action": "REGENERATE", "score": 0.3},
    ]
    kept = strong | {"action": "REGENERATE", "score": 0.2, "kept_score": 0.9, "forced": False, "rejected": rejected}
    return COMMON | {"schema": 1, "policy": "pomdp+redo+2", "question_id": "q1", "steps": [kept]}


def todays() -> dict[str, Any]:
    """The same solution in schema 3, whose texts have their separator."""
    step = STEP | {"text": "One.\n\n"}
    weak, strong = step | {"role": "weak"}, step | {"role": "strong"}
    rejected = [
        {"step": weak, "action": "RESAMPLE", "score": 0.1},
        {"step": weak, "action": "REGENERATE", "score": 0.2},
        {"step": strong, "action": "REVISE", "score": 0.3},
    ]
    kept = {"step": strong, "action": "REGENERATE", "score": 0.2, "kept_score": 0.9, "forced": False}
    decisions = [kept | {"rejected": rejected}]
    return COMMON | {"schema": 3, "policy": "pomdp+revise+2", "question": {"id": "q1"}, "decisions": decisions}


def save(folder: Path, *lines: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def differences(tmp_path: Path, new: dict[str, Any]) -> list[str]:
    old = save(tmp_path / "old", earlier())
    return compare(read(old), read(save(tmp_path / "new", new)))[1]


def test_names_that_have_changed_are_translated(tmp_path: Path) -> None:
    assert differences(tmp_path, todays()) == []


def test_scores_may_differ_by_rounding_alone(tmp_path: Path) -> None:
    new = todays()
    new["decisions"][0]["kept_score"] += 1e-8
    assert differences(tmp_path, new) == []
    new["decisions"][0]["kept_score"] += 1e-4
    (difference,) = differences(tmp_path, new)
    assert difference.startswith("pomdp+revise+2 0.5, q1: kept_score of kept steps: [0.9] -> [0.9001")


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("decision", "action", "TAKE_OVER"),
        ("decision", "forced", True),
        ("step", "text", "Two."),
        ("step", "tokens", 5),
        ("step", "role", "weak"),
        ("rejected", "action", "REGENERATE"),
        ("trace", "answer", None),
        ("trace", "correct", False),
        ("trace", "stop_reason", "eos"),
        ("trace", "seed", 8),
        ("trace", "parameter", 0.6),
    ],
)
def test_one_changed_value_is_a_difference(tmp_path: Path, place: str, name: str, value: object) -> None:
    new = todays()
    decision = new["decisions"][0]
    places = {"trace": new, "decision": decision, "step": decision["step"], "rejected": decision["rejected"][-1]}
    assert places[place][name] != value
    places[place][name] = value
    assert differences(tmp_path, new)


@pytest.mark.parametrize("role", ["weak", "strong", "prm"])
@pytest.mark.parametrize("count", COUNTS)
def test_every_count_is_compared(tmp_path: Path, role: str, count: str) -> None:
    old, new = todays() | RULE, todays() | RULE
    new["usage"] = new["usage"] | {role: COUNTS | {count: 8}}
    assert compare(read(save(tmp_path / "old", old)), read(save(tmp_path / "same", todays() | RULE)))[1] == []
    assert compare(read(tmp_path / "old"), read(save(tmp_path / "new", new)))[1]
    assert compare(read(tmp_path / "old"), read(save(tmp_path / "dear", old | {"cost": 0.5})))[1]


def test_usage_that_was_measured_is_left_out(tmp_path: Path) -> None:
    new = todays() | RULE
    new["usage"] = new["usage"] | {"weak": COUNTS | {"cached_tokens": 8}}
    assert differences(tmp_path, new | {"cost": 9.0}) == []
    new["usage"] = new["usage"] | {"strong": COUNTS | {"completion_tokens": 8}}
    assert differences(tmp_path, new)  # never depended on timing


def test_the_command_prints_a_line_a_policy_and_fails_on_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = save(tmp_path / "old", earlier(), earlier() | {"question_id": "q2"})
    new = save(tmp_path / "new", todays())
    for folders, code in ((old, old), 0), ((old, new), 1):
        monkeypatch.setattr(sys, "argv", ["same_results", *map(str, folders)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == code
    assert "pomdp+revise+2 0.5, q2: only the old tree has it" in capsys.readouterr().out
    compared, _ = compare(read(old), read(new))
    assert [line.split() for line in table(compared).splitlines()[1:]] == [
        ["pomdp+revise+2", "1", "2", "1", "1"],
        ["all", "1", "2", "1", "1"],
    ]
