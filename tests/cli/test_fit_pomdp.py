"""`trim fit pomdp` as a user runs it, on recorded simulations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from trim.cli.main import main
from trim.config.policy import open_sweep
from trim.config.settings import Config
from trim.config.specs import identities
from trim.policies.pomdp import PomdpPolicy


@pytest.mark.usefixtures("drawn")
def test_fit_prints_what_it_estimated(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "pomdp", str(run), "--out", str(tmp_path), "--price", "0.002"]) == 0
    out = capsys.readouterr().out
    for words in ("p_w", "q_R", "95% CI", "hazard[0]: draft 2", "900 traces of 150 questions"):
        assert words in out
    policy = PomdpPolicy.load(tmp_path)
    assert policy.price == 0.002
    for name in ("decisions.png", "hazard.png", "scores.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_fit_leaves_estimates_and_provenance(fitted: Path) -> None:
    estimates = json.loads((fitted / "fit.json").read_text())
    weak = estimates["weak_accuracy"]
    assert weak["low"] < 0.8 < weak["high"]
    assert weak["count"] > 1000
    assert estimates["scores"]["LOST"]["count"] > 100
    provenance = json.loads((fitted / "policy.json").read_text())["provenance"]
    assert provenance["models"] == identities(Config())
    assert (provenance["task"], provenance["questions"]) == ("arithmetic_chain", 150)


def test_fit_with_scores_from_labelled_solutions(run: Path, tmp_path: Path) -> None:
    """ProcessBench's format, scored by the shipped judge."""
    steps = ["3 + 4 = 7", "7 + 5 = 12", "12 + 1 = 13", "#### 13"]
    rows = [
        {"id": str(n), "problem": f"Calculate 3 + 4 + 5 + {n}.", "steps": steps, "label": label}
        for n in range(35)
        for label in (-1, 2)
    ]
    file = tmp_path / "processbench.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert main(["fit", "pomdp", str(run), "--observation", str(file), "--out", str(tmp_path / "fit")]) == 0
    estimates = json.loads((tmp_path / "fit" / "fit.json").read_text())
    counts = {state: estimate["count"] for state, estimate in estimates["scores"].items()}
    assert counts == {"CORRECT": 35 * 6, "RECOVERABLE": 35, "LOST": 35}


def test_a_dry_run_says_what_is_asked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = ["fit", "pomdp", str(run), "--out", str(tmp_path / "fit"), "--dry-run"]
    assert main(fit) == 0
    assert "would fit a policy to 1 trace file; no model is asked" in capsys.readouterr().out
    file = tmp_path / "processbench.jsonl"
    file.write_text(json.dumps({"problem": "Calculate 1 + 1.", "steps": ["1 + 1 = 2", "#### 2"], "label": -1}))
    assert main([*fit, "--observation", str(file), "--judge", "embedded"]) == 0
    assert "1 judge x 1 solutions" in (printed := capsys.readouterr().out)
    assert "judge: embedded:prm" in printed
    assert main([*fit[:-1], "--observation", str(file), "--max-cost", "0.0000001"]) == 2
    assert "stopped by --max-cost 1e-07 at $0" in capsys.readouterr().err
    assert not (tmp_path / "fit" / "policy.json").exists()
    assert main(["fit", "router", "classifier", str(run), "--out", str(tmp_path / "router"), "--dry-run"]) == 0
    assert "would train classifier on 150 questions; no model is asked" in capsys.readouterr().out
    assert not (tmp_path / "router").exists()


def test_a_sweep_of_prices_covers_cheap_and_dear(fitted: Path) -> None:
    policies = open_sweep(Config(), f"pomdp={fitted}")
    prices = [policy.parameter or 0 for policy in policies]
    assert len(prices) >= 9
    assert prices == sorted(prices, reverse=True)
    assert prices[0] / prices[-1] > 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fit", "pomdp", "RUN", "--task", "gsm_symbolic", "--out", "x"], "of different tasks: arithmetic_chain, gsm_"),
        (["fit", "pomdp", "small", "--out", "x"], "too few data from 5 questions"),
        (["fit", "pomdp", "foreign.json", "--task", "gsm_symbolic", "--out", "x"], "--config"),
        (["fit", "pomdp", "RUN", "absent", "--out", "x"], "absent: there is no such folder"),
        (["fit", "pomdp", "rubbish", "--out", "x"], "traces.jsonl:1: not JSON"),
        (["fit", "pomdp", "RUN", "--observation", "absent.jsonl", "--out", "x"], "absent.jsonl: there is no such file"),
        (["fit", "pomdp", "RUN", "foreign", "--out", "x"], "different models"),
    ],
)
def test_fits_that_cannot_be_made_get_one_sentence(
    arguments: list[str], sentence: str, refused: Callable[[Sequence[str]], str]
) -> None:
    assert sentence in refused(arguments)
