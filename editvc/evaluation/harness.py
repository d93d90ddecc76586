"""Tasks of lm-evaluation-harness (extra ``eval``), on a model that is loaded already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editvc.errors import EditvcError
from editvc.models.language_model import LanguageModel


class HarnessMissing(EditvcError):
    """lm-evaluation-harness is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "lm-evaluation-harness is not installed",
            hint="Install the extra: pip install 'editvc[eval]'.",
        )


class NoSuchTask(EditvcError):
    """A task that lm-evaluation-harness does not know."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"lm-evaluation-harness has no task {name!r}",
            hint="Name a folder with its YAML by --tasks, or see `lm_eval ls tasks`.",
        )
        self.name = name


def run_task(
    lm: LanguageModel, name: str, folders: Sequence[Path], items: int
) -> dict[str, dict[str, Any]]:
    """The metrics of a task, by task and metric, on at most ``items`` documents each.

    ``folders`` hold YAML files of tasks beside those that the harness brings. Hooks on the model
    stay, so codebooks and gates answer too. Raises :class:`HarnessMissing`, :class:`NoSuchTask`.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as cause:
        raise HarnessMissing from cause
    manager = TaskManager(include_path=[str(folder) for folder in folders] or None)
    if name not in manager.all_tasks:
        raise NoSuchTask(name)
    with lm.eval_mode():
        results = simple_evaluate(
            HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=8),
            tasks=[name],
            limit=items,
            task_manager=manager,
            bootstrap_iters=1000,
            log_samples=False,
        )
    return {
        task: {metric.removesuffix(",none"): value for metric, value in found.items()
               if isinstance(value, int | float)}
        for task, found in results["results"].items()
    }  # fmt: skip
