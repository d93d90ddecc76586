"""MEMIT's target search written as plainly as the paper has it: the slow path is the specification.

One edit at a time; every step runs the whole model over every padded token of every prompt and
takes logits at every position. Right padding, prompt and target cut apart, the subject found by
counting the tokens of what stands before it: nothing is shared with the code it checks.
"""

from __future__ import annotations

import torch

from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe


def compute_z(model, tokenizer, block, request: Request, recipe: LocatedRecipe, beside=()):
    """``(h, delta, loss)`` of one request; ``block`` is the module that the target is for.

    MEMIT's is layer L, ROME's its down projection. ``beside`` are modules that get vectors of their
    own, which are thrown away: PMET's attention.
    """
    target_ids = tokenizer(" " + request.target, add_special_tokens=False)["input_ids"]
    prompts = [c.replace("{}", request.prompt) for c in recipe.contexts] + ["{} is a"]
    ids = [tokenizer(p.replace("{}", request.subject))["input_ids"] for p in prompts]
    ids = [row + target_ids[:-1] for row in ids[:-1]] + ids[-1:]
    lookup = [
        len(tokenizer(p[: p.index("{}")] + request.subject)["input_ids"]) - 1 for p in prompts
    ]
    longest = max(map(len, ids))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    labels = torch.full((len(prompts) - 1, longest), -100)
    for row in range(len(prompts) - 1):
        labels[row, len(ids[row]) - len(target_ids) : len(ids[row])] = torch.tensor(target_ids)

    modules = [block, *beside]
    deltas = [
        torch.zeros(model.config.hidden_size, dtype=model.dtype, requires_grad=True)
        for _ in modules
    ]
    start = {}

    def editing(index):
        def edit(_module, _args, output):
            hidden = (output if isinstance(output, torch.Tensor) else output[0]).clone()
            start.setdefault(index, hidden[0, lookup[0]].detach().clone())
            for row, place in enumerate(lookup):
                hidden[row, place] += deltas[index]
            return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])

        return edit

    adam = torch.optim.Adam(deltas, lr=recipe.v_lr)
    kl_start = None
    handles = [module.register_forward_hook(editing(i)) for i, module in enumerate(modules)]
    try:
        for step in range(recipe.v_num_grad_steps):
            adam.zero_grad()
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
            kl_now = logits[-1, lookup[-1]].log_softmax(0)
            if kl_start is None:
                kl_start = kl_now.detach().clone()
            log_probs = logits[:-1].log_softmax(2)
            known = labels != -100
            picked = log_probs.gather(2, labels.clamp_min(0)[:, :, None])[:, :, 0]
            nll = (-(picked * known).sum(1) / len(target_ids)).mean()
            kl = torch.nn.functional.kl_div(kl_start, kl_now, log_target=True, reduction="sum")
            decay = recipe.v_weight_decay * sum(
                delta.norm() / start[i].norm() ** 2 for i, delta in enumerate(deltas)
            )
            loss = nll + recipe.kl_factor * kl + decay
            if loss < recipe.v_loss_threshold or step == recipe.v_num_grad_steps - 1:
                break
            loss.backward()
            adam.step()
            for index, delta in enumerate(deltas):
                limit = recipe.clamp_norm_factor * start[index].norm()
                if delta.norm() > limit:
                    with torch.no_grad():
                        delta.mul_(limit / delta.norm())
    finally:
        for handle in handles:
            handle.remove()
    return start[0], deltas[0].detach(), float(loss.detach())
