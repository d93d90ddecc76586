"""A loaded model with its tokenizer and the architecture that says where its parts are.

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from editvc.core.edit_site import EditSite
from editvc.models.architectures import (
    Architecture,
    NoAttentionError,
    NoUpProjError,
    architecture_of,
)
from editvc.models.config_meaning import POSITIONS, positions_of
from editvc.models.offload import execution_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Embedding, Module, Parameter
    from torch.utils.hooks import RemovableHandle
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """One causal language model, as every pass, search and edit takes it.

    ``architecture`` names paths of ``model``'s modules. ``tokenizer`` is a fast one, and read
    only where there is text: a random model, built to measure a family's structure, has None.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    architecture: Architecture

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        architecture: Architecture | None = None,
    ) -> LanguageModel:
        """A model that was loaded elsewhere; its architecture is the table's if none is given.

        Raises what :func:`editvc.models.architectures.architecture_of` raises.
        """
        return cls(model, tokenizer, architecture or architecture_of(model.config.model_type))

    @property
    def config(self) -> PretrainedConfig:
        """The model's configuration."""
        config: PretrainedConfig = self.model.config
        return config

    @property
    def device(self) -> torch.device:
        """Where tokens go: the device that the embeddings run on.

        A model that accelerate spreads runs each block where its hook says; whoever meets tensors
        of several blocks brings them together. Raises
        :class:`editvc.models.offload.MissingWeights`.
        """
        return execution_device(self.embeddings)

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in; the dtype of its weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def depth(self) -> int:
        """How many blocks the model has."""
        return len(self.model.get_submodule(self.architecture.layers))

    @property
    def hidden_size(self) -> int:
        """u, the width of the hidden state."""
        return int(self.config.hidden_size)

    @property
    def inner_size(self) -> int:
        """v, the width of the keys: what a down projection takes."""
        rows, columns = self.weight(0).shape
        return int(rows if self.architecture.transposed else columns)

    @property
    def positions(self) -> int | None:
        """How many tokens a text may have; None where the model sets no limit."""
        return positions_of({name: getattr(self.config, name, None) for name in POSITIONS})

    # -- modules ----------------------------------------------------------------------------

    @property
    def body(self) -> Module:
        """The model without its head: its first output is the hidden state after the norm."""
        body: Module = self.model.base_model
        return body

    @property
    def embeddings(self) -> Embedding:
        """The module that makes tokens into vectors."""
        embeddings: Embedding = self.model.get_input_embeddings()
        return embeddings

    @property
    def final_norm(self) -> Module:
        """The module between the last block and the head; one that does nothing where none is."""
        if not self.architecture.final_norm:
            from torch.nn import Identity

            return Identity()
        norm: Module = self.model.get_submodule(self.architecture.final_norm)
        return norm

    def block(self, layer: int) -> Module:
        """The module of one block."""
        block: Module = self.model.get_submodule(self.architecture.block_path(layer))
        return block

    def down_proj(self, layer: int) -> Module:
        """The module of one down projection; its input is the key, ``(..., v)``."""
        return self.block(layer).get_submodule(self.architecture.down_proj)

    def mlp_matrix(self, layer: int, part: str) -> Module:
        """The module of one matrix of an MLP, by its name in ``architecture.mlp_matrices``."""
        return self.block(layer).get_submodule(self.architecture.mlp_matrices[part])

    def up_proj(self, layer: int) -> Module:
        """The first matrix of one MLP; its input is what the MLP sees, ``(..., u)``.

        Raises :class:`NoUpProjError` where the architecture has no path to it.
        """
        if self.architecture.up_proj is None:
            raise NoUpProjError(self.architecture.model_type)
        return self.block(layer).get_submodule(self.architecture.up_proj)

    def has_inner_bias(self, layer: int) -> bool:
        """Whether a bias is added to what goes into the MLP's activation."""
        path = self.architecture.gate_proj or self.architecture.up_proj
        if path is None:
            raise NoUpProjError(self.architecture.model_type)
        return getattr(self.block(layer).get_submodule(path), "bias", None) is not None

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """What stands between the matrices of the MLPs. Raises :class:`NoUpProjError`."""
        from transformers.activations import ACT2FN

        name = self.architecture.activation
        if name is None:
            raise NoUpProjError(self.architecture.model_type)
        activation: Callable[[Tensor], Tensor] = ACT2FN[getattr(self.config, name, name)]
        return activation

    def weight(self, layer: int) -> Parameter:
        """The weight of one down projection: (u, v), or (v, u) where the architecture says so.

        Without values where it is offloaded: :func:`editvc.models.offload.read_weight` has them.
        """
        weight: Parameter = self.model.get_parameter(self.architecture.weight_name(layer))
        return weight

    def attention_output(self, layer: int) -> Module:
        """The module of one attention's output projection; its output is ``(..., u)``.

        Raises :class:`NoAttentionError` where the architecture has no path to it.
        """
        if self.architecture.attention is None:
            raise NoAttentionError(self.architecture.model_type)
        return self.block(layer).get_submodule(self.architecture.attention)

    def mlp(self, layer: int) -> Module | None:
        """The MLP around the down projection; None where its parts lie in the block itself."""
        inside = self.architecture.down_proj.rpartition(".")[0]
        return self.block(layer).get_submodule(inside) if inside else None

    # -- where edits act --------------------------------------------------------------------

    def edited_module(self, layer: int, site: EditSite) -> Module:
        """The module whose output ``(..., u)`` a target is for."""
        inside = self.architecture.within_block(site)
        return self.down_proj(layer) if inside else self.block(layer)

    def gain(self, site: EditSite) -> float:
        """How much of what a down projection gives arrives where targets are."""
        factor = self.architecture.factor
        if factor is None or self.architecture.within_block(site):
            return 1.0
        return float(getattr(self.config, factor))

    @contextmanager
    def eval_mode(self) -> Iterator[list[RemovableHandle]]:
        """Evaluation mode, and a list for hook handles: both undone on the way out."""
        training = self.model.training
        handles: list[RemovableHandle] = []
        self.model.eval()
        try:
            yield handles
        finally:
            for handle in handles:
                handle.remove()
            self.model.train(training)

    def logits(self, normed: Tensor) -> Tensor:
        """The head on hidden states after the final norm, ``(..., vocabulary)``.

        In float32 or more. Follows the config's ``logits_scaling``, ``logit_scale`` and
        ``final_logit_softcapping``.
        """
        import torch

        logits: Tensor = self.model.get_output_embeddings()(normed)
        if scaling := getattr(self.config, "logits_scaling", None):
            logits = logits / scaling
        if scale := getattr(self.config, "logit_scale", None):
            logits = logits * scale
        if cap := getattr(self.config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        return logits if logits.dtype == torch.float64 else logits.float()
