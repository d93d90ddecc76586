"""``blame``: whose work an answer is."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import compute_options, examples, json_option, open_with_base
from editvc.cli.output import emit_json, note, painted, say, table
from editvc.core.cut import cut, title
from editvc.core.ids import short

BAR = 24
"""Characters of the bar of a share of 1."""


@click.command(epilog=examples('editvc blame "The capital of France is" HEAD~2'))
@click.argument("prompt")
@click.argument("revision", metavar="[REV]", default="HEAD", shell_complete=revisions)
@click.option(
    "-n", "limit", type=click.IntRange(1), default=10, show_default=True, metavar="N",
    help="At most N facts.",
)  # fmt: skip
@compute_options
@json_option
@click.pass_context
def blame(ctx: click.Context, prompt: str, revision: str, limit: int, as_json: bool) -> None:
    """Tell the share of every commit and fact in what the model of REV (HEAD) does with PROMPT.

    Every edit adds a vector to what an MLP gives at each token. These are known in closed form, and
    what all of them add together is parted exactly: shares add up to 100%, and one is negative
    where a fact works against the others. A column a layer shows the size of what a fact adds.
    """
    found = open_with_base(ctx).blame(prompt, revision)
    if as_json:
        emit_json(found.to_json())
        return
    say(prompt, painted(found.answer, bold=True))
    if not found.shares:
        say("no edit adds anything to this")
    else:
        layers = sorted(found.sizes)
        for row, share in found.commits:
            say(
                f"{_share(share)} {_bar(share)} [{row.number} {short(row.id)}] {title(row.message)}"
            )
        rows = []
        for one in found.shares[:limit]:
            sizes = {part.layer: part.size for part in one.layers}
            most = max(one.layers, key=lambda part: part.size)
            what = one.fact.line if one.fact else str(one.patch) if one.patch else one.kind
            rows.append(
                [
                    _share(one.share),
                    _bar(one.share),
                    *(f"{sizes[layer]:.3g}" if layer in sizes else "" for layer in layers),
                    found.tokens[most.token].strip(),
                    one.kind,
                    short(one.fact.id) if one.fact else "",
                    cut(what),
                ]
            )
        header = ["share", "", *(f"layer {layer}" for layer in layers), "at", "kind", "fact", ""]
        table(header, rows, right=(0, *range(2, 2 + len(layers))))
        if len(found.shares) > limit:
            rest = sum(one.share for one in found.shares[limit:])
            note(
                f"{len(found.shares) - limit} more, together {_share(rest).strip()}: -n shows them"
            )
    for name in found.others:
        note(f"{name} is changed as well, and no part of this")


def _share(share: float) -> str:
    return f"{100 * share:6.1f}%"


def _bar(share: float) -> str:
    """As long as the share is large; one that works against the others is hollow."""
    return ("#" if share >= 0 else "-") * min(BAR, round(BAR * abs(share)))
