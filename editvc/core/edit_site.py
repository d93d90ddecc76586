"""Where in a block the vector is added that an edit's search is for."""

from __future__ import annotations

from enum import Enum


class EditSite(Enum):
    """What a target is a state of, at one token."""

    BLOCK_OUTPUT = "block output"
    """The hidden state after the block."""

    MLP_OUTPUT = "MLP output"
    """What the down projection gives, before it is added to the hidden state."""

    ATTENTION_AND_MLP = "attention and MLP"
    """The same, with a second vector on what attention gives, which is searched for and dropped."""
