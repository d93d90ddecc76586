"""MEND's editors, read from their objects for the recipes that name them."""

from __future__ import annotations

from editvc.core.ids import short
from editvc.core.methods.mend import MendRecipe
from editvc.editing.mend_editor import Editor, EditorError
from editvc.errors import EditvcError
from editvc.vcs.codec import metadata
from editvc.vcs.repository import Repository


class NoEditor(EditvcError):
    """A commit with MEND where none was trained."""

    def __init__(self) -> None:
        super().__init__(
            "no editor: MEND edits with a network that is trained for the base first",
            hint="`editvc train mend FILE` trains one on a set of facts.",
        )


def editor_of(repository: Repository, recipe: MendRecipe) -> Editor:
    """The editor that a recipe names.

    Raises :class:`NoEditor`, and ``EditorError`` for one that was trained for another base.
    """
    if recipe.editor is None:
        raise NoEditor
    data = repository.store.get(recipe.editor)
    record = metadata(data)
    editor = Editor.from_bytes(data, record)
    if record["base"] != repository.config.base.id:
        raise EditorError(
            f"the editor {short(recipe.editor)} was trained for another base model",
            hint="Train one for this base: `editvc train mend FILE`.",
        )
    return editor
