"""Figures as SVG inside a page, in the page's own colours: they follow its light or dark mode."""

from __future__ import annotations

import re
from io import StringIO

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours of the figures, and how they are shown on dark paper; all others are the same on both.
_DARK = {
    "#0072b2": "#5ab4f0",
    "#d55e00": "#ff8a3d",
    "#009e73": "#3fd6a5",
    "#808080": "#9a9ea6",
    "#b0b0b0": "#5a5e66",
    "#cccccc": "#4a4e56",
}
_PAGE = {"#000000": "var(--ink)", "#ffffff": "var(--paper)"}
STYLE = (
    "svg.plot { height:auto; border:1px solid var(--line); border-radius:6px; background:var(--paper); }\n"
    "svg.plot text, svg.plot path, svg.plot use { fill:var(--ink); }\n"  # black is not written out
    "@media (prefers-color-scheme: dark) { :root { "
    + " ".join(f"--plot-{light[1:]}:{dark};" for light, dark in _DARK.items())
    + " } }"
)
"""What a page with such figures needs in its style sheet, beside the variables `--ink`, `--paper` and `--line`."""


def svg(figure: Figure, text: str) -> Markup:
    """An SVG element.

    Args:
        figure: what it shows.
        text: the same in words, for those who cannot see it; other figures of the page have another one.
    """
    written = StringIO()
    FigureCanvasSVG(figure)  # attaches itself to the figure
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": text}):  # so that no two figures share an id
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    drawn = written.getvalue()
    drawn = re.sub(r'style="[^"]*"', lambda found: _in_colours_of_the_page(found[0]), drawn[drawn.index("<svg") :])
    width = round(figure.get_figwidth() * 96)
    head = f'<svg class="plot" role="img" aria-label="{escape(text)}" style="width:100%; max-width:{width}px"'
    drawn = re.sub(r' (?:width|height)="[^"]*"', "", drawn, count=2)
    return Markup(drawn.replace("<svg", head, 1))  # noqa: S704  # matplotlib escapes the words in it


def _in_colours_of_the_page(style: str) -> str:
    def colour(found: re.Match[str]) -> str:
        written = found[0]
        return _PAGE.get(written) or (f"var(--plot-{written[1:]}, {written})" if written in _DARK else written)

    return re.sub(r"#[0-9a-f]{6}\b", colour, style)
