"""What the verbs of one process share: a repository, its clock, and the model once it is loaded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from editvc.core.compute import Compute
from editvc.core.cut import quoted
from editvc.core.history import Tree
from editvc.core.hook_runner import HookRunner
from editvc.core.ids import ObjectId
from editvc.core.invisible import require_visible
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.vcs.known_bases import OverAnotherBase
from editvc.vcs.repository import Repository

if TYPE_CHECKING:
    from editvc.materialise.materialiser import Materialiser
    from editvc.models.language_model import LanguageModel
    from editvc.models.source import ModelFiles
    from editvc.models.workers import Workers

LONGEST_AUTHOR = 200
"""Characters."""


class AuthorError(EditvcError):
    """A name of an author that is none: blank, endless, or more than one line."""

    def __init__(self, author: str) -> None:
        super().__init__(
            f"no author is called {quoted(author)}",
            hint=f'One line, like "Ada Park <ada@example.org>", of {LONGEST_AUTHOR} characters at '
            "most: --author, EDITVC_AUTHOR, config user.author.",
        )


NOBODY = "nobody <>"
"""The author where neither the caller nor config.toml names one."""


class Session:
    """State only: it knows no verb, and every verb is a function of it.

    ``clock`` gives seconds since the epoch; ``progress`` hears of long work, ``remark`` what a user
    should know of what is done besides; ``device`` and ``dtype`` are what was asked for besides
    ``[compute]`` of config.toml, and go before it. ``hooks`` runs the repository's hooks; without
    it none are. ``sign`` says whether commits are signed; without it config.toml does. ``engine``
    is the address of a Ray engine, or of how many workers a local one is to be, that work which can
    be shared out is given to. Tensors are imported when they are first asked for, so that what
    reads history alone starts without torch.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        clock: Callable[[], int],
        progress: Progress | None = None,
        remark: Callable[[str], None] = lambda text: None,
        device: str | None = None,
        dtype: str | None = None,
        hooks: HookRunner | None = None,
        sign: bool | None = None,
        engine: str | None = None,
    ) -> None:
        self.repository = repository
        self.clock = clock
        self.progress = progress
        self.remark = remark
        self.hooks = hooks
        self.sign = sign
        self.engine = engine
        self._device, self._dtype = device, dtype

    @cached_property
    def materialiser(self) -> Materialiser:
        """Makes tensors of trees; keeps what it has read and factored."""
        from editvc.materialise.materialiser import Materialiser

        return Materialiser(self.repository, lambda: self.files)

    @cached_property
    def files(self) -> ModelFiles:
        """The base's files, checked against the repository's record of it; no tensor is loaded.

        Raises what :func:`editvc.materialise.base_check.check_base` raises.
        """
        from editvc.materialise.base_check import check_base

        base = self.repository.read_base()
        return check_base(self.repository, base, self.progress, self.remark)

    @cached_property
    def _loaded(self) -> LanguageModel:
        files = self.files  # another model is refused before transformers is imported
        from editvc.models.loading import load

        return load(files, self.compute)

    @cached_property
    def workers(self) -> Workers:
        """Who makes elements and takes statistics: this process, or those of :attr:`engine`."""
        if self.engine is None:
            from editvc.models.workers import InProcess

            return InProcess(self.base_model(), self.progress)
        from editvc.session.engine import start

        return start(self.engine, self.repository, self.files, self.compute, self.remark)

    def scratch(self) -> Session:
        """The same over :meth:`Repository.scratch`: trees are tried, and nothing is written.

        A model that is loaded already is shared.
        """
        view = copy.copy(self)
        view.repository = self.repository.scratch()
        vars(view).pop("materialiser", None)
        return view

    def drafted(self, settings: Mapping[str, Any], lm: LanguageModel | None = None) -> Session:
        """The same under other settings, of another base, say; config.toml stays as it is.

        ``lm`` is that base's model, where it is loaded already.
        """
        view = copy.copy(self)
        view.repository = self.repository.drafted(settings)
        view.forget_base()
        if lm is not None:
            view._loaded = lm
        return view

    def over(self, base: ObjectId) -> Session:
        """A session with ``base`` in force: itself, or one under the settings of a former base.

        Raises ``OverAnotherBase`` for one that never was.
        """
        if base == self.repository.config.base.id:
            return self
        settings = self.repository.bases.settings_of(base)
        if settings is None:
            raise OverAnotherBase(base, self.repository.config.base.id, None)
        return self.drafted(settings)

    @property
    def compute(self) -> Compute:
        """What models are run on, and in which dtype."""
        return self.repository.config.compute.over(self._device, self._dtype)

    def base_model(self) -> LanguageModel:
        """The base model of this process, loaded once; unedited between calls."""
        return self._loaded

    def require_base(self) -> None:
        """Raise unless the base is at hand and is the very one; no model is loaded.

        What needs the model later asks at once, so that its dry run refuses what it would.
        """
        _ = self.files

    def forget_base(self) -> None:
        """Read the base anew when it is asked for next: it is elsewhere now, or another one."""
        self.repository.forget_config()
        for name in ("files", "materialiser", "_loaded", "workers"):
            vars(self).pop(name, None)

    @property
    def holds_model(self) -> bool:
        """Whether this process has loaded the base model already."""
        return "_loaded" in vars(self)

    def edited(self, tree: Tree) -> AbstractContextManager[LanguageModel]:
        """The process's model with the weights and codebooks of ``tree``; then the base again."""
        from editvc.materialise.edited_model import edited

        return edited(self.materialiser, self.base_model(), tree)

    def recipe(self) -> LocatedRecipe:
        """The recipe in config.toml: what located methods begin with from now on."""
        return self.repository.config.recipe

    def author(self, name: str | None = None) -> str:
        """Who a commit is by: the one named, or the one of config.toml, or nobody."""
        require_visible(author=name)
        author = name or self.repository.config.user.author or NOBODY
        if not author.strip() or len(author) > LONGEST_AUTHOR or len(author.splitlines()) > 1:
            raise AuthorError(author)
        return author
