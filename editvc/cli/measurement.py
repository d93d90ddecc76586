"""What a suite of ``eval`` has measured, as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from editvc.cli.output import emit_csv, emit_json, table

if TYPE_CHECKING:
    from editvc.porcelain.measure import Measurement


def show_measurement(found: Measurement, *, as_json: bool, as_csv: bool) -> None:
    """One line a group of figures; in JSON everything."""
    if as_json:
        emit_json(found.to_json())
    elif as_csv:
        emit_csv(
            {"group": group, "figure": name, "value": value}
            for group, figures in found.figures.items()
            for name, value in figures.items()
        )
    else:
        names = [*dict.fromkeys(name for each in found.figures.values() for name in each)]
        table(
            ["", *names],
            [
                [group, *(_shown(figures.get(name)) for name in names)]
                for group, figures in found.figures.items()
            ],
            right=range(1, len(names) + 1),
        )


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "-".join(_shown(one) for one in value)
    return f"{value:.1f}" if isinstance(value, float) else str(value)
