"""A LoRA resolver of vLLM, which finds :func:`register` by its entry point; nothing else calls it.

vLLM asks its resolvers for an adapter that it does not know when a request names one. Here a name
is a revision of a repository, and its adapter is made when it is first asked for. vLLM keeps what
it loaded under a name: a branch that moves is not looked at again, and a commit's id never moves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import closing
from pathlib import Path

from editvc.core.cut import quoted
from editvc.core.trust import Trust
from editvc.errors import EditvcError
from editvc.repo import Repo
from editvc.vcs.revisions import RevisionError

REPOSITORY, BASE, CACHE = "EDITVC_VLLM_REPO", "EDITVC_VLLM_BASE", "EDITVC_VLLM_CACHE"
"""Variables: the repository's folder; the base as the server calls it, where it has another name;
where adapters are kept."""
NAME = "editvc"
"""What vLLM lists the resolver as."""

logger = logging.getLogger("vllm.plugins.editvc")
"""Below vLLM's own logger, whose lines its users see."""


class Adapters:
    """Adapters of the revisions of one repository, each under ``REV`` or ``FOLDER@REV``.

    They are kept in ``cache``, one a tree. ``base`` is the server's name for the base, where the
    repository has another one for it: that of a quantised copy, say.
    """

    def __init__(self, folder: Path, cache: Path, base: str | None = None) -> None:
        self.folder, self.cache, self.base = folder.resolve(), cache, base
        self._turn = threading.Lock()

    def find(self, base: str, name: str) -> Path | None:
        """The folder of the adapter of ``base`` that a name stands for; ``None`` for no revision.

        ``None``, too, where a revision has no adapter, and the log says why.
        """
        try:
            # One after the other: two names may stand for one tree, and each makes a model.
            with self._turn, closing(opened(self.folder)) as repo:
                commit = repo.show(self._revision(name)).row.id
                self._require_base(repo, base)
                adapter = repo.adapter(commit, self.cache)
        except RevisionError as error:
            logger.debug("not a revision of %s: %s", self.folder, error)
            return None
        except (EditvcError, OSError) as error:
            logger.warning("%s has no adapter: %s", quoted(name), told(error))
            return None
        logger.info("%s is commit %s, in %s", quoted(name), commit, adapter)
        return adapter

    def _revision(self, name: str) -> str:
        rest = name.removeprefix(f"{self.folder.name}@")
        return name if rest.startswith("{") else rest  # main@{1} is a revision as it is

    def _require_base(self, repo: Repo, name: str) -> None:
        known = self.base or str(repo.status().source)
        if name != known and not _same_folder(name, known):
            raise EditvcError(
                f"the repository edits {known}, and the server has {name}",
                hint=f"If that is the same model, quantised or not: {BASE}={name}",
            )


def register() -> None:
    """What vLLM calls in each of its processes: take on the repository of ``EDITVC_VLLM_REPO``.

    Without that variable nothing is registered; where there is no repository, the log says so.
    """
    folder = os.environ.get(REPOSITORY)
    if not folder:
        return
    try:
        opened(Path(folder)).close()
    except (EditvcError, OSError) as error:
        logger.error("%s=%s: %s", REPOSITORY, folder, told(error))
        return
    _register(Adapters(Path(folder), cache_folder(), os.environ.get(BASE)))


def _register(adapters: Adapters) -> None:
    from vllm.lora.request import LoRARequest  # type: ignore[import-not-found]
    from vllm.lora.resolver import (  # type: ignore[import-not-found]
        LoRAResolver,
        LoRAResolverRegistry,
    )

    class RevisionResolver(LoRAResolver):  # type: ignore[misc]
        async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
            # In a thread, which may take as long as an export: the server answers others meanwhile.
            found = await asyncio.to_thread(adapters.find, base_model_name, lora_name)
            if found is None:
                return None
            number = 1 + int(found.name[:8], 16)  # one a tree; vLLM may count anew
            return LoRARequest(lora_name=lora_name, lora_int_id=number, lora_path=str(found))

    LoRAResolverRegistry.register_resolver(NAME, RevisionResolver())


def cache_folder() -> Path:
    """Where adapters are kept: what is in it may be deleted while no server runs."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(CACHE) or caches / "editvc" / "adapters")


def opened(folder: Path) -> Repo:
    """The repository; adapters are made on the CPU, as the GPU is the server's."""
    return Repo(folder, device="cpu", trust=Trust.from_environment(os.environ), remark=logger.info)


def told(error: Exception) -> str:
    """An error in one line."""
    hint = getattr(error, "hint", "")
    return f"{error}. {hint}" if hint else str(error)


def _same_folder(one: str, other: str) -> bool:
    return os.path.isdir(one) and os.path.isdir(other) and os.path.samefile(one, other)
