"""Editors of MEND to test with, and the loss that they lower by the model's own head."""

from __future__ import annotations

from dataclasses import replace

import torch
from tolerances import rounding

from editvc.editing.mend_editor import Editor, Matrix

LAYERS = (1, 2)
DOWN = ("down",)


def on(layers, parts=DOWN):
    """The matrices of some layers."""
    return tuple(Matrix(layer, part) for layer in layers for part in parts)


def blank(size, matrices):
    """Statistics that leave pairs of so many numbers as they are."""
    return {matrix: (torch.zeros(size), torch.ones(size)) for matrix in matrices}


def unnormed(u, v, parts=DOWN, *, rate=0.25):
    """The identity on pairs as they are."""
    return Editor.untrained(blank(u + v, on(LAYERS, parts)), rank=4, rate=rate, seed=0)


def scattered(u, v, parts=DOWN, *, seed=5):
    """An editor with no tensor left as it begins, and some numbers through every ReLU."""
    generator = torch.Generator().manual_seed(seed)
    begun = unnormed(u, v, parts)
    tensors = {}
    for name, tensor in begun.tensors.items():
        noise = torch.randn(tensor.shape, generator=generator)
        # What up projections are given is smaller: numbers of one sign would all end at the ReLU.
        tensors[name] = tensor + 0.2 * (noise if name.startswith("inner.") else noise.abs())
    return replace(begun, tensors=tensors)


def plain_loss(model, ids, target):
    """Mean negative log likelihood of the target's tokens, by the model's own head."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, target - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[target:]))


def compacted(row):
    """What a patch may lack: singular values below an eps of float32, of as many as tokens."""
    return rounding(1, torch.float32, scale=len(row.ids) ** 0.5)
