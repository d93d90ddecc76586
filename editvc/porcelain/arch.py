"""``arch``: what editvc would edit in a model, from its config alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.errors import EditvcError
from editvc.models.architecture_discovery import find_block
from editvc.models.architectures import (
    Architecture,
    UnknownArchitectureError,
    architecture_of,
)
from editvc.models.language_model import LanguageModel
from editvc.models.source import CONFIG, read_config, require_unquantised, resolve
from editvc.models.structure import config_in, skeleton
from editvc.statistics.bundle import shipped_settings

NOT_MEASURED = (
    "no small model of this config could be built, so what stands before the down projection, and "
    "whether a norm or a factor stands behind it, is not known; `init` refuses the block where the "
    "model contradicts it"
)


class BlockExists(EditvcError):
    """A file that a block would overwrite. ``path`` is that file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists", hint="Move it away, or use it if it is right.")
        self.path = path


@dataclass(frozen=True, slots=True)
class ArchitectureReport:
    """What editvc would use of a model.

    ``known`` tells whether the architecture table has its family; else ``architecture`` was found
    from the structure and asks to be confirmed. Sizes are u and v; ``tied`` says whether the head
    and the embedding share a weight.
    """

    source: str
    known: bool
    architecture: Architecture
    depth: int
    hidden_size: int
    inner_size: int
    default_layers: tuple[int, ...]
    tied: bool
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract of ``arch --json``."""
        return {
            "source": self.source,
            "model_type": self.architecture.model_type,
            "known": self.known,
            "block": dict(self.architecture.pairs),
            "depth": self.depth,
            "hidden_size": self.hidden_size,
            "inner_size": self.inner_size,
            "default_layers": list(self.default_layers),
            "tied_head": self.tied,
            "remarks": list(self.remarks),
        }

    @property
    def file_name(self) -> str:
        """What the file of the block is called, for ``init --architecture``."""
        return f"{self.architecture.model_type.replace('/', '-')}.architecture.toml"

    def write(self, folder: Path) -> Path:
        """Write the block to a new file in ``folder``. Raises :class:`BlockExists`."""
        path = folder / self.file_name
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(f"# Of {self.source}; for `editvc init --architecture`.\n")
                file.write(self.architecture.toml() + "\n")
        except FileExistsError as cause:
            raise BlockExists(path) from cause
        return path


def look_at(model: str, *, revision: str | None = None) -> ArchitectureReport:
    """What editvc would use of a model folder, a Hub id, or ``pocket``; reads no weights.

    Raises :class:`~editvc.models.structure.StructureError` where the structure shows no
    block, and the errors with which ``init`` refuses a quantised model or a family.
    """
    folder = resolve(model, revision, files=CONFIG)
    stated = read_config(folder, model)
    require_unquantised(stated, model)
    model_type = str(stated.get("model_type"))
    remarks: tuple[str, ...] = ()
    try:
        architecture, known = architecture_of(model_type), True
        config = config_in(folder, model_type)
    except UnknownArchitectureError:
        config = config_in(folder, model_type)
        discovered = find_block(config)
        architecture, known = discovered.architecture, False
        remarks = () if discovered.measured else (NOT_MEASURED,)
    bare = skeleton(config)
    lm = LanguageModel(bare, None, architecture)
    depth = lm.depth
    return ArchitectureReport(
        source=model,
        known=known,
        architecture=architecture,
        depth=depth,
        hidden_size=lm.hidden_size,
        inner_size=lm.inner_size,
        default_layers=shipped_settings(folder).get("layers") or architecture.default_layers(depth),
        tied=bare.get_output_embeddings().weight is lm.embeddings.weight,
        remarks=remarks,
    )
