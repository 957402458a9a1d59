"""Figures in the colours of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from trim.reporting.svg import svg


def drawn(title: str = "a") -> Figure:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [3, 4], marker="*", color="black", label="#0072B2")
    axes.plot([1, 2], [4, 3], color="#0072B2")
    axes.set_title(title)
    return figure


def test_ink_paper_and_curves_follow_the_page() -> None:
    found = svg(drawn(), "a plot")
    styles = " ".join(re.findall(r'style="([^"]*)"', found))
    assert "#000000" not in styles
    assert "#ffffff" not in styles
    assert "var(--ink)" in styles
    assert "var(--plot-0072b2, #0072b2)" in styles
    assert not re.search(r"(?<!, )#0072b2", styles)


def test_names_stay_text() -> None:
    found = svg(drawn("<script>alert(1)</script> #000000"), 'a "quoted" <plot>')
    assert "<script" not in found
    root = ElementTree.fromstring(found)
    assert root.get("aria-label") == 'a "quoted" <plot>'
    assert any("".join(text.itertext()) == "<script>alert(1)</script> #000000" for text in root.findall(".//{*}text"))


def test_no_two_figures_of_a_page_share_what_they_refer_to() -> None:
    first, second = (
        set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg(drawn(), name))) for name in ("one plot", "another plot")
    )
    assert first
    assert not first & second
