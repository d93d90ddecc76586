"""GRACE as its paper and code tell it, one edit at a time: what the codebook must amount to."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class Plain:
    """Algorithm 1: a list of [place of the key, radius, label], edited by one key after another."""

    eps: float
    book: list[list] = field(default_factory=list)
    keys: list[torch.Tensor] = field(default_factory=list)

    def edit(self, key: torch.Tensor, label: str) -> None:
        self.keys.append(key)
        place = len(self.keys) - 1
        if not self.book:
            self.book.append([place, self.eps, label])
            return
        nearest, smallest = self.book[0], float("inf")
        for entry in self.book:
            distance = float((self.keys[entry[0]] - key).square().sum().sqrt())
            if distance < smallest:
                nearest, smallest = entry, distance
        if smallest > self.eps + nearest[1]:
            self.book.append([place, self.eps, label])
        elif nearest[2] != label:
            nearest[1] = smallest / 2
            self.book.append([place, smallest / 2, label])
        elif smallest > nearest[1]:
            nearest[1] = smallest


def plain_values(model, module, ids, target, recipe):
    """(values, loss) of one text: ``ids[target:]`` are to be said. The whole model, every step."""
    tokens = torch.tensor([ids[:-1]])
    wanted = torch.tensor(ids[target:])
    found: list[torch.Tensor] = []
    replacement: list[torch.Tensor] = []

    def hook(_module, _args, output):
        flat = output.reshape(-1, output.shape[-1])
        found.append(flat[target - 1 :].detach().clone())
        if not replacement:
            return None
        return torch.cat([flat[: target - 1], replacement[0]]).view(output.shape)

    handle = module.register_forward_hook(hook)
    try:
        model(input_ids=tokens)
        value = found[0].clone().requires_grad_()
        replacement.append(value)
        adam = torch.optim.Adam([value], lr=recipe.edit_lr)
        best, lowest = value.detach().clone(), float("inf")
        for _ in range(recipe.n_iter):
            logits = model(input_ids=tokens).logits[0, target - 1 :]
            loss = torch.nn.functional.cross_entropy(logits, wanted)
            if float(loss.detach()) < lowest:
                best, lowest = value.detach().clone(), float(loss.detach())
            if lowest < recipe.v_loss_threshold:
                break
            (value.grad,) = torch.autograd.grad(loss, value)
            adam.step()
    finally:
        handle.remove()
    return best, lowest
