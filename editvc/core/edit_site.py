"""Where in a block the vector is added that an edit's search is for."""

from __future__ import annotations

from enum import Enum


class EditSite(Enum):
    """What a target is a state of, at one token; the values are those of methods' rows."""

    BLOCK_OUTPUT = "memit"
    """The hidden state after the block."""

    MLP_OUTPUT = "rome"
    """What the down projection gives, before it is added to the hidden state."""

    ATTENTION_AND_MLP = "pmet"
    """The same, with a second vector on what attention gives, which is searched for and dropped."""
