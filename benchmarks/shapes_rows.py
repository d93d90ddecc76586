"""The rows that `shapes.py` measured, as curves, and the tables of their slopes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any

Row = dict[str, Any]
GIB = 2**30


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Curve:
    """One figure along one size, the rest held: ``log y = log c + slope log x``, least squares."""

    points: tuple[tuple[float, float], ...]

    @property
    def slope(self) -> float:
        """The power of x; 0 of one point."""
        xs, ys = ([log(one) for one in column] for column in zip(*self.points, strict=True))
        middle = sum(xs) / len(xs)
        spread = sum((x - middle) ** 2 for x in xs)
        level = sum(ys) / len(ys)
        both = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True))
        return both / spread if spread else 0.0

    def at(self, x: float) -> float:
        """What was measured at x, or the line through the two largest points there."""
        known = dict(self.points)
        if x in known:
            return known[x]
        last = Curve(self.points[-2:])
        (x0, y0) = last.points[-1]
        return y0 * exp(last.slope * (log(x) - log(x0)))


@dataclass(frozen=True)
class Measured:
    """The rows, read as curves."""

    rows: Sequence[Row]

    @property
    def idle(self) -> float:
        """Bytes of a process that only imports."""
        return float(self.one("idle")["peak"])

    def one(self, part: str, **case: Any) -> Row:
        """The first row of a case."""
        return next(self.of(part, **case))

    def of(self, part: str, **case: Any) -> Iterator[Row]:
        """The rows of a part with these values."""
        for row in self.rows:
            if row["part"] == part and all(row.get(key) == value for key, value in case.items()):
                yield row

    def curve(self, part: str, x: str, y: Callable[[Row], float], **case: Any) -> Curve:
        """A figure of a part along a size; what is not above 0 (hidden by idle memory) is out."""
        points = sorted((row[x], y(row)) for row in self.of(part, **case))
        return Curve(tuple((size, value) for size, value in points if value > 0))

    def beyond(self, row: Row) -> float:
        """Bytes of the peak beyond those of imports."""
        return float(row["peak"]) - self.idle


def step(name: str) -> Callable[[Row], float]:
    """Processor seconds of one step."""
    return lambda row: float(row["processor"].get(name, 0.0))


# What is measured along which size: title, part, step, the rest of the case, what is expected.
LADDER: Sequence[tuple[str, str, str, dict[str, Any]]] = (
    ("factor of the second moment", "factor", "made", {}),
    ("solve, 100 edits", "solve", "solution", {"n": 100}),
    ("solve, 1,000 edits", "solve", "solution", {"n": 1000}),
    ("gates, 1,000 edits to neurons", "gates", "neurons", {"n": 1000}),
    ("export, the delta of 100 edits in one layer", "export", "written", {"n": 100, "layers": 1}),
    ("export, 200 neurons more in one layer", "widen", "written", {"n": 100, "layers": 1}),
    ("second moment, 512 tokens", "moment", "tokens", {}),
    ("forward, 256 tokens, one layer", "pass", "forward", {"n": 256}),
    ("backward, 256 tokens, one layer", "pass", "backward", {"n": 256}),
)


def ladder(found: Measured) -> str:
    """Every part along the shapes: seconds, memory, slopes in v, and how well the last is foreseen.

    u grows with v, so 2 is a part that is linear in the size of a weight, 3 a factorisation.
    """
    sizes = sorted({row["v"] for row in found.rows if "v" in row})
    heads = " | ".join(f"{v:,}" for v in sizes)
    lines = [
        f"| processor s, at v = | {heads} | slope | last, foreseen from the others |",
        f"|---|{'--:|' * len(sizes)}--:|--:|",
    ]
    for title, part, name, case in LADDER:
        curve = found.curve(part, "v", step(name), **case)
        lines.append(ladder_row(title, curve, sizes, "{:.3g}".format))
    lines += ["", f"| peak beyond imports, GiB | {heads} | slope | last, foreseen |",
              f"|---|{'--:|' * len(sizes)}--:|--:|"]  # fmt: skip
    for title, part, name, case in LADDER:
        if name != "backward":
            curve = found.curve(part, "v", found.beyond, **case)
            lines.append(ladder_row(title, curve, sizes, lambda y: f"{y / GIB:.2f}"))
    return "\n".join(lines)


def ladder_row(title: str, curve: Curve, sizes: Sequence[int], told: Callable[[float], str]) -> str:
    known = dict(curve.points)
    cells = [told(known[v]) if v in known else "-" for v in sizes]
    foreseen = "-"
    if len(curve.points) > 2:
        x, y = curve.points[-1]
        foreseen = f"{Curve(curve.points[:-1]).at(x) / y:.2f} times it"
    return f"| {title} | {' | '.join(cells)} | {Curve(curve.points[-3:]).slope:.2f} | {foreseen} |"


def along(found: Measured) -> str:
    """Slopes in the number of edits, layers and tokens, at the largest shape with three points."""
    lines = ["| what | along | at v | points | slope |", "|---|---|--:|---|--:|"]
    for title, part, name, x in (
        ("solve, fewer edits than v", "solve", "solution", "n"),
        ("one commit of n edits", "change", "made", "n"),
        ("one commit of n edits: peak", "change", "", "n"),
        ("gates: bytes to edits", "gates", "read", "n"),
        ("gates: edits to neurons", "gates", "neurons", "n"),
        ("gates: peak beyond imports", "gates", "", "n"),
        ("export: layers of which one is edited", "export", "written", "layers"),
        ("forward, tokens", "pass", "forward", "n"),
        ("backward, tokens", "pass", "backward", "n"),
    ):
        case: dict[str, Any] = {"primal": False} if part == "solve" else {}
        if part == "export":
            case["n"] = 100
        y = step(name) if name else found.beyond
        by_size = {
            v: found.curve(part, x, y, v=v, **case)
            for v in sorted({row["v"] for row in found.of(part)})
        }
        most = max(len(curve.points) for curve in by_size.values())
        v = max(v for v, curve in by_size.items() if len(curve.points) == most)
        curve, unit = by_size[v], (1.0 if name else GIB)
        told = ", ".join(f"{px:,}: {py / unit:.3g}" for px, py in curve.points)
        unit_name = "s" if name else "GiB"
        lines.append(f"| {title} | {x} | {v:,} | {told} {unit_name} | {curve.slope:.2f} |")
    return "\n".join(lines)
