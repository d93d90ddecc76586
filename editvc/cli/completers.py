"""What a shell offers at a word: revisions, branches, methods, keys.

Each function is the ``shell_complete`` of an argument or option. None of them runs a model; where
there is no repository, :func:`editvc.cli.main.main` ends in silence.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from editvc.core.cut import cut, title
from editvc.core.ids import short
from editvc.core.invisible import in_one_line
from editvc.core.trust import Trust
from editvc.errors import EditvcError

if TYPE_CHECKING:
    from editvc.repo import Repo

Items = list[CompletionItem[str]]

RECENT = 200
"""Commits whose ids are offered, the newest: a shell shall not wait for a long history."""

PLAIN = re.compile(r"[\w@%+=:,./-]+")
"""What a shell takes as it stands. Anything else is not offered: names come from other hands, and
one like ``$(reboot)`` would be run."""


def revisions(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """HEAD, base, branches and tags, and ids of recent commits once a digit is typed.

    Of a range A..B it is B that is completed.
    """
    start, dots, name = begun.rpartition("..")
    repo = _repository(ctx)
    named = {"HEAD": "where you are", "base": "the model before any commit"}
    named |= _refs(repo)
    if name and set(name) <= set("0123456789abcdef"):
        named |= _ids(repo, len(name))
    return _items({start + dots + one: about for one, about in named.items()}, begun)


def branches(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """Branches of this repository."""
    return _items((one.name for one in _repository(ctx).branches()), begun)


def tags(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """Tags."""
    return _items((one.name for one in _repository(ctx).tags()), begun)


def branches_and_tags(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """What is pushed, or put into a bundle."""
    repo = _repository(ctx)
    return _items(
        [*(one.name for one in repo.branches()), *(one.name for one in repo.tags())], begun
    )


def remotes(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """Names of remotes."""
    return _items({one.name: one.url for one in _repository(ctx).remotes()}, begun)


def methods(_ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """Names of methods that make something of facts; no repository is needed."""
    from editvc.core.methods.table import METHODS, RECIPES

    return _items({name: METHODS[name].summary for name in RECIPES}, begun)


def recipe_keys(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """``KEY=`` for each number of the method that the command names, or that commits use here."""
    from editvc.core.methods.table import DEFAULT, METHODS, RECIPES

    name = ctx.params.get("method")
    with suppress(EditvcError):
        name = name or _repository(ctx).settings("commit.method")["commit.method"]
    row = METHODS.get(name or DEFAULT)
    keys = (
        {f"preset={preset}": about.source for preset, about in row.presets.items()} if row else {}
    )
    if row is not None and row.name in RECIPES:
        for key, declared in RECIPES[row.name].settings().items():
            if key != "method":
                keys[f"{key}="] = getattr(declared, "help", "") or declared.kind.words
    return _items(keys, begun)


def settings(ctx: click.Context, _param: click.Parameter, begun: str) -> Items:
    """Keys of config.toml."""
    return _items(_repository(ctx).settings(), begun)


def _repository(ctx: click.Context) -> Repo:
    from editvc.repo import Repo

    folder = ctx.find_root().params.get("directory") or "."
    return Repo(folder, remark=lambda _: None, trust=Trust.from_environment(os.environ))


def _refs(repo: Repo) -> dict[str, str]:
    return {
        **{one.name: "branch of a remote" for one in repo.remote_branches()},
        **{one.name: "tag" for one in repo.tags()},
        **{one.name: "branch" for one in repo.branches() if one.commit},
    }


def _ids(repo: Repo, digits: int) -> dict[str, str]:
    with suppress(EditvcError):  # before the first commit
        return {
            row.id[: max(digits, len(short(row.id)))]: title(row.message)
            for row in repo.log("HEAD", RECENT)
        }
    return {}


def _items(names: Iterable[str] | Mapping[str, object], begun: str) -> Items:
    about = names if isinstance(names, Mapping) else dict.fromkeys(names, "")
    return [
        CompletionItem(name, help=in_one_line(cut(str(words))) if words else None)
        for name, words in about.items()
        if name.startswith(begun) and PLAIN.fullmatch(name)
    ]
