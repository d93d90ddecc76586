"""A plan for a 70B model and many edits, made of what `shapes.py` measured on single layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapes_rows import GIB, Measured, Row, along, ladder, read, step

HOUR = 3600.0
LOCK = 1 << 28
"""Bytes of the longest lock and ledger that are read: ``editvc.publish.lock.LARGEST``."""
STORE = Path(__file__).resolve().parent.parent / "docs" / "data" / "store.jsonl"
PAYLOAD = 2 * 15_360
"""Bytes of the element and the delta that `store.py` gives a commit."""
CHUNK = 1 << 14
"""Tokens of a chunk of text: one task of a worker."""


@dataclass(frozen=True)
class Model:
    """What is planned for: ``edited`` layers of ``layers``, of sizes u and v."""

    name: str
    u: int
    v: int
    layers: int
    edited: int


BIG = Model("70B", 8192, 28672, 80, 5)
COUNTS = (1_000, 100_000, 1_000_000)


def primal_work(n: float, u: int, v: int) -> float:
    """Operations of a set of n >= v edits in one layer: whitening, gram, factor, solution."""
    return 3 * n * v * v + 2 * n * u * v + v**3 / 3 + 3 * u * v * v


def primal_seconds(found: Measured, n: float, u: int, v: int) -> float:
    """By the rate of the largest set that was solved so."""
    row = max(found.of("solve", primal=True), key=lambda one: one["n"] * one["v"] ** 2)
    rate = primal_work(row["n"], row["u"], row["v"]) / row["processor"]["solution"]
    return primal_work(n, u, v) / rate


def solve_seconds(found: Measured, n: int, model: Model) -> float:
    """All edited layers: along v where n was measured, as v x v sums beyond."""
    if n < model.v:
        return model.edited * found.curve("solve", "v", step("solution"), n=n).at(model.v)
    return model.edited * primal_seconds(found, n, model.u, model.v)


def solve_bytes(n: int, model: Model) -> float:
    """What a command holds that solves a set: see the formula in the table."""
    u, v = model.u, model.v
    each = 4 * (u + v) + 8 * (u + v) + 8 * v
    return model.edited * (n * each + 8 * v * v + 8 * min(n, v) ** 2)


def solve_check(found: Measured) -> float:
    """The formula for one layer, by the peak of the largest set that was solved."""
    row = max(found.of("solve"), key=found.beyond)
    one = Model("", row["u"], row["v"], layers=1, edited=1)
    return solve_bytes(row["n"], one) / found.beyond(row)


def change_bytes(found: Measured, n: float) -> float:
    """One layer of a commit of n edits: matrices of n x n, by those of the most edits measured."""
    row = max(found.of("change"), key=lambda one: one["n"])
    return found.beyond(row) * (n / row["n"]) ** 2


def pass_seconds(found: Measured, model: Model) -> tuple[float, float]:
    """A token through all blocks, forward and back, from 256 at once."""
    sides = (found.curve("pass", "v", step(side), n=256) for side in ("forward", "backward"))
    forward, backward = (model.layers * curve.at(model.v) / 256 for curve in sides)
    return forward, backward


def tokens_of(found: Measured, method: str) -> dict[str, float]:
    """Tokens an edit sends through every block."""
    return dict(counted(found, method)["tokens"])


def counted(found: Measured, method: str) -> Row:
    """Where the tokens of an edit were counted last: the embedded model, then SmolLM2."""
    return [*found.of("locating", method=method)][-1]


def told_tokens(found: Measured, method: str) -> str:
    """In words."""
    row, tokens = counted(found, method), tokens_of(found, method)
    model = Path(row["model"]).name
    return (
        f"{tokens['forward']:.0f} tokens forward and {tokens['backward']:.0f} back an edit, as "
        f"counted on {model}; `pass` of 256"
    )


def locating_seconds(found: Measured, method: str, model: Model) -> float:
    """One edit."""
    tokens, (forward, backward) = tokens_of(found, method), pass_seconds(found, model)
    return tokens["forward"] * forward + tokens["backward"] * backward


def locating_work(found: Measured, method: str, model: Model) -> float:
    """Floating-point operations of one edit: two a parameter and token, in each direction."""
    row = max(found.of("pass"), key=lambda one: one["v"])
    size = row["parameters"] * model.u * model.v / (row["u"] * row["v"])
    return 2 * size * model.layers * sum(tokens_of(found, method).values())


def gate_bytes(found: Measured, model: Model) -> float:
    """Memory of an edit that becomes neurons: from 100 to 1,000 edits, at the largest shape."""
    u = min(model.u, max(row["u"] for row in found.of("gates")))
    few, many = (found.one("gates", u=u, n=n)["peak"] for n in (100, 1000))
    return (many - few) / 900 * model.u / u


def widened_bytes(n: int, model: Model) -> float:
    """What 2 n neurons add to an export in 16 bits: all layers have one width."""
    return 2 * n * 3 * model.u * 2 * model.layers


def store_bytes() -> float:
    """Bytes of a commit of one fact beside its element and delta."""
    collected = [row for row in read(STORE) if row["operation"] == "gc"]
    row = next(row for row in collected if row["system"] == "editvc")
    return float(row["bytes"] / row["commits"] - PAYLOAD)


def export_seconds(found: Measured, model: Model) -> float:
    """Edited layers by the first row, others by what a second layer added; and hashed, both."""
    one, two = (
        found.curve("export", "v", step("written"), n=100, layers=layers).at(model.v)
        for layers in (1, 2)
    )
    return model.edited * one + (model.layers - model.edited) * max(0.0, two - one)


def statistics_seconds(found: Measured, model: Model) -> float:
    """10 v tokens through all blocks, and added to the moments of the edited layers."""
    tokens, per = 10 * model.v, found.one("moment")
    batch = found.curve("moment", "v", step("batch")).at(model.v)
    added = found.curve("moment", "v", step("tokens")).at(model.v) - batch
    moments = tokens / per["in a batch"] * batch + tokens / per["tokens"] * max(0.0, added)
    return tokens * pass_seconds(found, model)[0] + model.edited * moments


def plan(found: Measured, model: Model) -> str:
    """Hours, memory and bytes of a 70B model, each with the formula that it is from."""
    v, edited = model.v, model.edited
    once = [
        ("statistics of text, processor h", statistics_seconds(found, model) / HOUR,
         "10 v tokens: forward through all layers, `moment` in the edited ones"),
        ("statistics stored, GiB", edited * 2 * v * v / GIB, "a triangle of float32: 2 v² a layer"),
        ("their running sums, GiB", edited * 16 * v * v / GIB,
         "sums and those of one chunk, float64: 16 v² a layer, all layers at once"),
        ("sent by workers, GiB", edited * 8 * v * v * -(-10 * v // CHUNK) / GIB,
         "8 v² a layer and chunk of 16,384 tokens"),
        ("factors, processor h", edited * found.curve("factor", "v", step("made")).at(v) / HOUR,
         "`factor` a layer, once a recipe"),
        ("the most memory of one factor, GiB",
         found.curve("factor", "v", found.beyond).at(v) / GIB, "peak of `factor`"),
        ("factors in the cache, and in every worker, GiB", edited * 8 * v * v / GIB,
         "8 v² a layer"),
    ]  # fmt: skip
    lines = ["| once | | from |", "|---|--:|---|"]
    lines += [f"| {title} | {figure(value)} | {formula} |" for title, value, formula in once]
    heads = " | ".join(f"{n:,} edits" for n in COUNTS)
    lines += ["", f"| a set of | {heads} | from |", f"|---|{'--:|' * len(COUNTS)}---|"]
    for title, formula, value in each_set(found, model):
        cells = " | ".join(figure(value(n)) for n in COUNTS)
        lines.append(f"| {title} | {cells} | {formula} |")
    return "\n".join(lines)


Line = tuple[str, str, Callable[[int], float]]


def each_set(found: Measured, model: Model) -> Sequence[Line]:
    """Title, formula, and the figure of n edits."""
    u, v, edited = model.u, model.v, model.edited
    memit, gated = (locating_seconds(found, method, model) for method in ("memit", "gated"))
    work = locating_work(found, "memit", model)
    lock = found.one("locating")["lock"]
    return (
        ("`memit`: located, processor h", told_tokens(found, "memit"), lambda n: n * memit / HOUR),
        ("`memit`: located, exaFLOP", "2 a parameter and token", lambda n: n * work / 1e18),
        ("`memit`: solved, processor h", "`solve`; from v edits on as v x v sums",
         lambda n: solve_seconds(found, n, model) / HOUR),
        ("`memit`: memory to solve, GiB", "a layer: n (12 (u + v) + 8 v) + 8 v² + 8 min(n, v)²; "
         f"{solve_check(found):.2f} of the largest peak here",
         lambda n: solve_bytes(n, model) / GIB),
        ("`memit`: elements stored, GiB", "4 (u + v) an edit and layer",
         lambda n: n * edited * 4 * (u + v) / GIB),
        ("`memit`: a commit's delta, GiB", "4 (u + v) a rank and layer, of rank n",
         lambda n: n * edited * 4 * (u + v) / GIB),
        ("`memit`: all in one commit, memory of a layer, GiB",
         "`change`: its peak, as n²; what is linear in n comes on top",
         lambda n: change_bytes(found, n) / GIB),
        ("either: facts, set, history and index, GiB",
         "one fact a commit, after gc, as `store.py` found",
         lambda n: n * store_bytes() / GIB),
        ("`memit`: exported, processor h", "`export`: no matter how many edits",
         lambda n: export_seconds(found, model) / HOUR),
        ("either: lock, MiB", f"{lock:.0f} bytes an edit, counted", lambda n: n * lock / 2**20),
        ("`gated`: located, processor h", told_tokens(found, "gated"),
         lambda n: n * gated / HOUR),
        ("`gated`: elements stored, GiB", "4 (5 u + v) an edit",
         lambda n: n * 4 * (5 * u + v) / GIB),
        ("`gated`: memory to make neurons, GiB", "`gates`: the slope of its peak",
         lambda n: n * gate_bytes(found, model) / GIB),
        ("`gated`: added to the export, GiB", "12 u an edit, in each of the layers",
         lambda n: widened_bytes(n, model) / GIB),
    )  # fmt: skip


def breaks(found: Measured, model: Model, memory: float) -> str:
    """How many edits each limit allows, the least first; ``memory`` in GiB."""
    v, edited = model.v, model.edited
    room = memory * GIB
    weights = 2 * locating_parameters(found, model)
    fixed = edited * 16 * v * v
    rows = [
        ("`gated`: the export is twice the base", weights / widened_bytes(1, model),
         "every layer is as wide as the edited one"),
        ("`gated`: memory to make neurons", room / gate_bytes(found, model),
         "edits, and neurons in float64, all at once"),
        ("`memit`: memory to solve", max(0.0, room - fixed) / (solve_bytes(2, model)
         - solve_bytes(1, model)), "keys and residuals in float64, and whitened, all layers"),
        ("`memit`: a single commit", (room / change_bytes(found, 1)) ** 0.5,
         "matrices of n x n in float64, for its delta"),
        ("`publish`: the longest lock that is read", LOCK / found.one("locating")["lock"],
         "256 MiB"),
    ]  # fmt: skip
    lines = ["| edits | what no longer fits | why |", "|--:|---|---|"]
    for title, count, why in sorted(rows, key=lambda row: row[1]):
        lines.append(f"| {figure(count)} | {title} | {why} |")
    factor = found.curve("factor", "v", found.beyond).at(v)
    lines += ["", "| with no edit at all | GiB |", "|---|--:|",
              f"| statistics running, {edited} layers | {edited * 16 * v * v / GIB:,.0f} |",
              f"| factoring one layer | {factor / GIB:,.0f} |",
              f"| factors held, {edited} layers | {edited * 8 * v * v / GIB:,.0f} |"]  # fmt: skip
    return "\n".join(lines)


def locating_parameters(found: Measured, model: Model) -> float:
    """The parameters of the blocks."""
    row = max(found.of("pass"), key=lambda one: one["v"])
    return float(row["parameters"] * model.u * model.v / (row["u"] * row["v"]) * model.layers)


def figure(value: float) -> str:
    """Two digits that count, or a whole number."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def write_tables(page: Path, rows: Sequence[Row], memory: float) -> None:
    """Put every table between its marks in a page."""
    found, text = Measured(rows), page.read_text(encoding="utf-8")
    tables = {
        "ladder": ladder(found),
        "along": along(found),
        "plan": plan(found, BIG),
        "breaks": breaks(found, BIG, memory),
    }
    for name, table in tables.items():
        begin, end = f"<!-- shapes.py {name} -->", f"<!-- end {name} -->"
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"{page} has no place for the table: {begin} and {end}, a line each")
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    page.write_text(text, encoding="utf-8")
