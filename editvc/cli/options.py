"""Options and lookups that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from editvc.cli.boundary import is_text
from editvc.cli.completers import methods, recipe_keys
from editvc.cli.output import note
from editvc.cli.terminal import QUIET
from editvc.core.trust import Trust

if TYPE_CHECKING:
    from editvc.core.fact_files.reader import SourcedFact
    from editvc.core.hook_runner import HookEnd
    from editvc.core.progress import Progress
    from editvc.repo import Repo

Command = TypeVar("Command", bound=Callable[..., Any])

_META = "editvc.compute"
_NO_VERIFY = "editvc.no_verify"
_SIGN = "editvc.sign"
_WORKERS = "editvc.workers"


def examples(*lines: str) -> str:
    """The end of a command's help: lines that a shell takes as they stand."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _hush(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[QUIET] = True


quiet_option = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_hush,
    help="No progress, no remarks, no report of what was done.",
)  # fmt: skip
"""Every command gets it in :mod:`editvc.cli.main`; warnings, errors and what was asked for stay."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
message_option = click.option("-m", "--message", metavar="MSG", help="Why; made up if not given.")
author_option = click.option(
    "--author",
    metavar="'NAME <MAIL>'",
    help="Who; else EDITVC_AUTHOR, config user.author, git's user, the login name.",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would happen and write nothing."
)

method_option = click.option(
    "--method", metavar="NAME", shell_complete=methods,
    help="Another method than config commit.method; `editvc methods` lists them.",
)  # fmt: skip

files_argument = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)  # fmt: skip
target_option = click.option(
    "--target",
    type=click.Choice(["answers", "alt"]),
    help="zsRE records only: teach the true answer, or the counterfactual one.",
)

confirm_option = click.option(
    "--confirm-subjects",
    is_flag=True,
    help="Free questions only: take a subject found in the question, if it is the only one.",
)

chat_option = click.option(
    "--chat-template",
    is_flag=True,
    help="Ask as a user does in the model's chat template.",
)


def compute_options(command: Command) -> Command:
    """``--device`` and ``--dtype``, for commands that run the model; :func:`open_repo` has them."""

    def kept(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        ctx.meta[f"{_META}.{param.name}"] = value

    for name, values, words in (
        ("dtype", "float32, bfloat16, float16", "What to compute in"),
        ("device", "cpu, cuda, cuda:1, mps", "What to run the model on"),
    ):
        command = click.option(
            f"--{name}", metavar="NAME", expose_value=False, callback=kept,
            envvar=f"EDITVC_{name.upper()}", help=f"{words}: auto, {values}; else "
            f"EDITVC_{name.upper()}, config compute.{name}.",
        )(command)  # fmt: skip
    return command


def no_verify_option(command: Command) -> Command:
    """``--no-verify``; :func:`open_repo` has it."""

    def kept(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        ctx.meta[_NO_VERIFY] = value

    return click.option(
        "--no-verify", is_flag=True, expose_value=False, callback=kept,
        help="Do not ask the hooks pre-commit and pre-publish.",
    )(command)  # fmt: skip


def sign_option(command: Command) -> Command:
    """``-S`` and its opposite; :func:`open_repo` has it."""

    def kept(ctx: click.Context, _param: click.Parameter, value: bool | None) -> None:
        ctx.meta[_SIGN] = value

    return click.option(
        "-S/ ", "--gpg-sign/--no-gpg-sign", default=None, expose_value=False, callback=kept,
        help="Sign what is committed with config user.signingkey, an SSH key; else as config "
        "commit.gpgsign says.",
    )(command)  # fmt: skip


def workers_option(command: Command) -> Command:
    """``--workers``; :func:`open_repo` has it."""

    def kept(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        ctx.meta[_WORKERS] = value

    return click.option(
        "--workers", metavar="ADDRESS|N", expose_value=False, callback=kept,
        help="Share the work out: HOST:PORT of a Ray engine, or how many workers to start here.",
    )(command)  # fmt: skip


def commit_options(command: Command) -> Command:
    """What all commands take that write a commit of their own: ``message``, ``author``,
    ``dry_run`` and ``as_json``, and what :func:`open_repo` has of hooks and signatures.
    """
    return _all_of(
        message_option, author_option, dry_run_option, no_verify_option, sign_option, json_option
    )(command)


def recipe_options(command: Command) -> Command:
    """How facts are to be located: ``method``, ``options`` and ``file``, for ``Repo.choose``."""
    return _all_of(
        method_option,
        click.option(
            "-O", "options", multiple=True, metavar="KEY=VALUE", shell_complete=recipe_keys,
            help="One number of the recipe, such as -O clamp_norm_factor=0.8. Repeatable.",
        ),
        click.option(
            "--recipe", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A recipe in YAML, or a hparams file of ROME, MEMIT or EasyEdit as it is.",
        ),
    )(command)  # fmt: skip


def facts_options(command: Command) -> Command:
    """How records are read: ``target``, ``confirm_subjects`` and ``chat_template``."""
    return _all_of(target_option, confirm_option, chat_option)(command)


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The options in this order, as if each stood above the command."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def compute_of(ctx: click.Context) -> tuple[str | None, str | None]:
    """The device and the dtype that were asked for."""
    return ctx.meta.get(f"{_META}.device"), ctx.meta.get(f"{_META}.dtype")


def layer_numbers(text: str) -> list[int]:
    """What ``--layers`` was given, like ``3,4,5``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of layer numbers like 3,4,5", param_hint="--layers"
        ) from None


def contents(files: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """The files with what is in them; ``-`` is standard input."""
    return [
        (name, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        for name in files
    ]


def facts_in(
    files: tuple[str, ...], target: Literal["answers", "alt"] | None, confirm_subjects: bool
) -> list[SourcedFact]:
    """The facts of all files; at a terminal, the subjects of free questions are asked for."""
    from editvc.core.fact_files.reader import examined, only_candidate, read_facts

    sources = contents(files)
    if confirm_subjects:
        return read_facts(sources, target=target, subject=only_candidate)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return read_facts(sources, target=target)
    # Whatever else is wrong is told before anyone answers a question.
    if examined(sources, target=target, subject=_any_subject).problems:
        return read_facts(sources, target=target, subject=_any_subject)
    return read_facts(sources, target=target, subject=_confirmed_subject)


def _any_subject(question: str, candidates: tuple[str, ...]) -> str:
    return candidates[0] if candidates else question


def _confirmed_subject(question: str, candidates: tuple[str, ...]) -> str:
    """What the user says that the question is about; a bare return takes the longest candidate."""
    note(question)
    if len(candidates) > 1:
        note(f"  may be about {', '.join(map(repr, candidates))}")

    def part_of(text: str) -> str:
        if text not in question:
            raise click.BadParameter("it must stand in the question, as it is written there")
        return text

    answer: str = click.prompt(
        "  subject", default=candidates[0] if candidates else None, value_proc=part_of, err=True
    )
    return answer


def open_repo(ctx: click.Context, progress: Progress | None = None) -> Repo:
    """The repository of the current directory, or of ``-C DIR``."""
    from editvc.repo import Repo

    device, dtype = compute_of(ctx)
    return Repo(
        ctx.find_root().obj, progress=progress, remark=note, device=device, dtype=dtype,
        trust=Trust.from_environment(os.environ),
        hooks=_unverified if ctx.meta.get(_NO_VERIFY) else _run_hook,
        sign=ctx.meta.get(_SIGN), workers=ctx.meta.get(_WORKERS),
    )  # fmt: skip


def _run_hook(path: Path, document: bytes) -> HookEnd:
    """Run a hook in the folder of its repository; what it prints is no result of ours."""
    import subprocess  # for commands that write alone: nothing else waits for it

    from editvc.core.hook_runner import HookEnd

    try:
        done = subprocess.run(
            [path], input=document, capture_output=True, check=False, cwd=path.parents[2]
        )
    except OSError as cause:
        return HookEnd(126, f"it cannot be run: {cause.strerror or cause}")
    return HookEnd(done.returncode, (done.stderr or done.stdout).decode("utf-8", "replace"))


def _unverified(path: Path, document: bytes) -> HookEnd:
    """With --no-verify: what may refuse is not asked."""
    from editvc.core.hook_runner import HookEnd
    from editvc.session.user_hooks import GATES

    return HookEnd(0, "") if path.name in GATES else _run_hook(path, document)


def open_with_base(ctx: click.Context, progress: Progress | None = None) -> Repo:
    """:func:`open_repo` for verbs that cannot do without the base's weights.

    Another model in its place is refused at once, before anything that knows tensors is imported.
    """
    repo = open_repo(ctx, progress)
    repo.require_base()
    return repo


def author_of(repo: Repo, option: str | None) -> str:
    """Who commits: the option, EDITVC_AUTHOR, config.toml, git's identity, the login name."""
    return (
        option
        or _named_author()
        or repo.settings("user.author")["user.author"]
        or _git_identity(repo.folder)
        or f"{_login()} <>"
    )


def _named_author() -> str:
    author = os.environ.get("EDITVC_AUTHOR", "").strip()
    if not is_text(author):
        raise click.UsageError(f"EDITVC_AUTHOR is not UTF-8 text: {author!a}")
    return author


def _git_identity(folder: Path) -> str:
    name, mail = _git_config(folder, "user.name"), _git_config(folder, "user.email")
    return f"{name} <{mail}>" if name else ""


def _git_config(folder: Path, key: str) -> str:
    import subprocess  # for commands that write alone: nothing else waits for it

    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "config", "--get", key],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _login() -> str:
    import getpass

    try:
        return os.fsencode(getpass.getuser()).decode("utf-8", "replace")
    except (OSError, KeyError):
        return "unknown"
