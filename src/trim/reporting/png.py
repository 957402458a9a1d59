"""Figures as PNG, without a display and without pyplot's global state."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trim.atomic import write_bytes


def caption(text: str) -> str:
    """A name as a plot shows it: dollar signs begin no formula, and half a character is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure to a file."""
    write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """The bytes of a PNG file."""
    buffer = BytesIO()
    FigureCanvasAgg(figure)  # attaches itself to the figure
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
