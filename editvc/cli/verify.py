"""``verify``: base and ledger are these weights, tensor by tensor, or what is not explained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, painted, progress, say
from editvc.core.ids import short
from editvc.core.trust import Trust
from editvc.errors import GateError

if TYPE_CHECKING:
    from editvc.core.progress import Progress
    from editvc.porcelain.verify import Verification


@click.command(epilog=examples("editvc verify edited --repo facts"))
@click.argument("model", metavar="MODEL")
@click.option(
    "--repo", "repository", type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR", help="The repository that MODEL was exported from; else the one of this folder.",
)  # fmt: skip
@click.option(
    "--at", "revision", metavar="REV", shell_complete=revisions,
    help="Compare with this revision; else with the tree that the lock file names, else HEAD.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="The public key (PEM) of whoever is to have signed it with `publish --sign`.",
)  # fmt: skip
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    model: str,
    repository: Path | None,
    revision: str | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Prove that base and edits are the weights of MODEL, an export's folder or a Hub id.

    Every tensor is made again from the repository and compared; what the edits do not explain is
    named, and the command ends with 4. Without the repository the digests beside the weights are
    compared, and it is said what that does not prove; this, too, ends with 4. With --key the
    signature must be by its owner, and hold of every file.
    """
    with progress() as report:
        found = _verified(ctx, model, repository, revision, key, report)
    emit_json(found.to_json()) if as_json else _show(found)
    if not found.explained:
        ctx.exit(GateError.exit_code)


def _verified(
    ctx: click.Context,
    model: str,
    repository: Path | None,
    revision: str | None,
    key: Path | None,
    report: Progress,
) -> Verification:
    from editvc.porcelain.verify import in_repository, verify_by_digests

    if repository is not None:
        ctx.find_root().obj = repository
    asked = repository is not None or revision is not None
    trust = Trust.from_environment(os.environ)
    if not asked and not in_repository(ctx.find_root().obj, trust):
        return verify_by_digests(model, report, key)
    return open_repo(ctx, report).verify(model, revision=revision, key=key)


def _show(found: Verification) -> None:
    for one in found.findings:
        name = one.name if one.kind in ("file", "ledger", "signature") else f"tensor {one.name}"
        say(painted(f"{one.kind}: ", fg="red"), f"{name}: {one.problem}")
    for missing in found.unproven:
        say(painted("not proven: ", fg="yellow"), missing)
    against = f", tree {short(found.tree)} with {found.edits} edits" if found.tree else ""
    digest = f", digest {short(found.digest)}" if found.digest else ""
    say(f"{found.source}: {found.tensors} tensors{digest}{against}")
    if found.signed:
        say(painted("signed by the owner of the key, all files as they are", fg="green"))
    if found.explained:
        say(painted("base and edits explain all of it", fg="green"))
    else:
        say(f"{len(found.findings)} not explained")
