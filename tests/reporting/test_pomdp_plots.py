"""Plots of a fitted POMDP, looked at through their axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from tests.pomdp.fit.recorded import by_rule, record
from trim.policies import RandomSteps
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import STATES
from trim.pomdp.fit.estimation import PomdpFit
from trim.reporting.pomdp_plots import decisions, hazard, scores, write_fit_plots


@pytest.fixture(scope="module")
def fitted() -> PomdpFit:
    return by_rule(record(RandomSteps(0.5, uses_scores=True), 200))


def test_decisions_have_a_panel_for_first_later_and_final_drafts(fitted: PomdpFit) -> None:
    titles = [axes.get_title() for axes in decisions(PomdpPolicy(fitted.model, 0.002)).axes]
    assert (titles[0], titles[-1]) == ("first draft", "final draft")
    assert len(titles) == 3
    short = replace(fitted.model, hazard=(1.0,))
    assert [axes.get_title() for axes in decisions(PomdpPolicy(short, 0.002)).axes][-1] == "final draft"


def test_the_hazard_is_drawn_as_counted_and_as_smoothed(fitted: PomdpFit) -> None:
    (axes,) = hazard(fitted.model, fitted.hazard).axes
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    smoothed = lines["smoothed, as the policy uses it"]
    assert np.asarray(smoothed.get_ydata(), float).tolist() == list(fitted.model.hazard[: len(fitted.hazard)])
    assert {text.get_text() for text in axes.texts} >= {str(estimate.count) for estimate in fitted.hazard}


def test_scores_have_a_panel_a_state_whose_shares_add_up(fitted: PomdpFit) -> None:
    panels = scores(fitted.points).axes
    assert [axes.get_title(loc="left").partition(":")[0] for axes in panels] == list(STATES)
    for axes in panels:
        assert sum(bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)) == pytest.approx(1)


def test_all_plots_are_written(fitted: PomdpFit, tmp_path: Path) -> None:
    names = write_fit_plots(PomdpPolicy(fitted.model, 0.002), fitted, tmp_path)
    assert names == ("decisions.png", "hazard.png", "scores.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
