"""Plots of measured rows as SVG: the same bytes from the same rows. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report import COLOURS, MARKERS

from experiments.items import Plot


def draw(plot: Plot, file: Path) -> None:
    """One plot: a square of numbers, points, or lines with markers."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "editvc", "svg.fonttype": "none", "font.size": 9}
    with rc_context(settings):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        panel = figure.subplots()
        if plot.square:
            shown = panel.imshow(plot.square, vmin=-1, vmax=1, cmap="PuOr")
            figure.colorbar(shown)
        else:
            _series(panel, plot)
        panel.set_title(plot.title)
        panel.set_xlabel(plot.x)
        panel.set_ylabel(plot.y)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _series(panel: Any, plot: Plot) -> None:
    for number, (label, points) in enumerate(plot.lines.items()):
        if points:
            panel.plot(
                *zip(*points, strict=True),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle="none" if plot.points else "-",
                markersize=4 if plot.points or len(points) < 30 else 0,
                linewidth=1,
                label=label,
            )
    if plot.logarithmic:
        panel.set_yscale("log")
        if plot.points:
            panel.set_xscale("log")
    panel.grid(axis="y", linewidth=0.4)
    panel.spines[["top", "right"]].set_visible(False)
    if plot.lines:
        panel.legend(frameon=False, fontsize=8)
