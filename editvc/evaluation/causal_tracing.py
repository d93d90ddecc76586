"""Causal tracing: which hidden states carry a fact (Meng et al. 2022, arXiv 2202.05262, section 2).

Three kinds of runs of one prompt. The *clean* one gives the target's probability P. The *corrupted*
one has Gaussian noise added to the embeddings of the subject's tokens, which takes the probability
down to P*. In a corrupted run *with restoration* one state, of one token in one layer, is what it
was in the clean run; the probability is then P*(state). Averaged over samples of the noise,

    total effect = P - P*        indirect effect of a state = P*(state) - P*

For ``hidden`` the state is a block's output; for ``mlp`` and ``attn`` it is what the MLPs or the
attentions of a window of layers give, while the rest of the hidden state stays corrupted.

One pass gives the clean run and all corrupted ones; every restoration then replays only the blocks
that it can change, the tokens of a layer side by side as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from editvc.core.facts import Request
from editvc.models.block_call import Call
from editvc.models.forward import TOKENS_PER_BATCH
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.replay import require_replayed
from editvc.models.tokenization import TokenizedPrompt, subject_span, tokenize

KINDS = ("hidden", "mlp", "attn")
"""What can be restored."""

ROLES = (
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "first subsequent token",
    "further tokens",
    "last token",
)
"""The places of tokens over which effects of several prompts are averaged."""

LAST_SUBJECT, LAST = ROLES[2], ROLES[5]


@dataclass(frozen=True, slots=True, eq=False)
class CausalTrace:
    """The effects of one request's states.

    ``tokens`` are the texts of the prompt's tokens, ``subject`` the places of the subject's;
    ``window`` is in layers; ``clean`` and ``corrupted`` are the target's probability, the second
    as a mean over samples. ``effects`` (tokens, layers) are the indirect effects, float64.
    """

    request: Request
    kind: str
    window: int
    tokens: tuple[str, ...]
    subject: range
    clean: float
    corrupted: float
    effects: Tensor

    @property
    def total_effect(self) -> float:
        """What the noise takes away."""
        return self.clean - self.corrupted

    def by_role(self) -> dict[str, Tensor]:
        """Effects (layers,) by the ``ROLES`` that tokens of this prompt have, the mean of each.

        A subject of one token has a last one only; so has what follows it. Tokens before the
        subject see no noise and have no role.
        """
        subject, after = self.subject, range(self.subject.stop, len(self.tokens))
        places = (subject[:-1][:1], subject[1:-1], subject[-1:],
                  after[:-1][:1], after[1:-1], after[-1:])  # fmt: skip
        return {
            role: self.effects[list(chosen)].mean(dim=0)
            for role, chosen in zip(ROLES, places, strict=True)
            if chosen
        }


@dataclass(frozen=True, slots=True, eq=False)
class AverageTrace:
    """Means over prompts: of the probabilities, and of the effects (roles, layers), float64.

    ``roles`` are those that any prompt has; each mean is over the prompts that have it.
    """

    count: int
    clean: float
    corrupted: float
    roles: tuple[str, ...]
    effects: Tensor

    @property
    def total_effect(self) -> float:
        """What the noise takes away."""
        return self.clean - self.corrupted

    def of(self, role: str) -> Tensor:
        """Effects (layers,) of one of :attr:`roles`."""
        return self.effects[self.roles.index(role)]


def averaged(traces: Sequence[CausalTrace]) -> AverageTrace:
    """The average effects of several traces, one at least, of one kind on one model."""
    by_role = [one.by_role() for one in traces]
    effects = {role: [each[role] for each in by_role if role in each] for role in ROLES}
    present = tuple(role for role in ROLES if effects[role])
    return AverageTrace(
        count=len(traces),
        clean=sum(one.clean for one in traces) / len(traces),
        corrupted=sum(one.corrupted for one in traces) / len(traces),
        roles=present,
        effects=torch.stack([torch.stack(effects[role]).mean(dim=0) for role in present]),
    )


def subject_deviation(lm: LanguageModel, requests: Sequence[Request]) -> float:
    """Standard deviation of the embeddings of the subjects' tokens, over all their entries."""
    rows = [(row.ids, request) for request in requests
            for (row,) in tokenize(lm.tokenizer, [request])]  # fmt: skip
    ids = [ids[place] for ids, request in rows for place in subject_span(lm.tokenizer, request)]
    with torch.no_grad():
        vectors = lm.embeddings(torch.tensor(ids, device=lm.device))
    return float(vectors.double().std())


def default_window(depth: int) -> int:
    """Layers whose MLPs or attentions are restored together: the paper's 10 of 48, to scale."""
    return max(1, round(10 * depth / 48))


def causal_trace(
    lm: LanguageModel,
    request: Request,
    *,
    deviation: float,
    kind: str = "hidden",
    samples: int = 10,
    seed: int = 0,
    window: int | None = None,
) -> CausalTrace:
    """Indirect effects of all states of one kind on the probability of the request's target.

    ``deviation`` is the noise's, such as 3 times :func:`subject_deviation`; the noise (samples,
    subject tokens, u) is drawn by a generator of its own. The probability of a target of several
    tokens is their product. A window of w layers around l runs from ``l - w // 2`` to
    ``l + (w - 1) // 2``, inside the model. The model is left untouched. Raises the errors of
    :mod:`editvc.models.tokenization` and :class:`editvc.models.replay.ReplayError`.
    """
    depth = lm.depth
    width = 1 if kind == "hidden" else window or default_window(depth)
    ((row,),) = tokenize(lm.tokenizer, [request])
    subject = subject_span(lm.tokenizer, request)
    with lm.eval_mode(), torch.no_grad():
        embedded = lm.embeddings.weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        noise = deviation * torch.randn(samples, len(subject), embedded, generator=generator)
        runs = _Runs.of(lm, row, subject, noise, kind)
        chances = runs.chances(runs.inputs[-1])
        corrupted = float(chances[1:].mean())
        effects = torch.zeros(row.target, depth, dtype=torch.float64)
        places = list(range(subject[0], row.target))  # those before the subject see no noise
        size = max(1, TOKENS_PER_BATCH // (samples * (len(row.ids) - 1)))
        for start in range(0, len(places), size):
            chunk = places[start : start + size]
            restored = runs.restored(chunk, [_window(at, width, depth) for at in range(depth)])
            effects[chunk] = restored - corrupted
    return CausalTrace(
        request=request,
        kind=kind,
        window=width,
        tokens=tuple(lm.tokenizer.decode([token]) for token in row.ids[: row.target]),
        subject=subject,
        clean=float(chances[0]),
        corrupted=corrupted,
        effects=effects,
    )


def _window(layer: int, width: int, depth: int) -> range:
    return range(max(0, layer - width // 2), min(depth, layer - width // 2 + width))


@dataclass(frozen=True, slots=True)
class _Runs:
    """The clean run (row 0) and the corrupted ones (the other rows) of one prompt with its target.

    ``inputs`` are those of every block and the last one's output, (rows, columns, u) each;
    ``outputs`` what the clean run's restored modules gave, (columns, u) a layer, none for
    ``hidden``.
    """

    lm: LanguageModel
    target: Tensor
    inputs: tuple[Tensor, ...]
    outputs: Mapping[int, Tensor]
    modules: Mapping[int, Module]
    calls: tuple[Call, ...]

    @classmethod
    def of(
        cls,
        lm: LanguageModel,
        row: TokenizedPrompt,
        subject: range,
        noise: Tensor,
        kind: str,
    ) -> _Runs:
        """One pass over all rows of one prompt with its target."""
        rows = torch.tensor(row.ids[:-1], device=lm.device).expand(1 + len(noise), -1)
        part = {"mlp": lm.down_proj, "attn": lm.attention_output}.get(kind)
        modules = {} if part is None else {layer: part(layer) for layer in range(lm.depth)}
        caught: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        outputs: dict[int, Tensor] = {}
        last: list[Tensor] = []

        def corrupt(_module: Any, _args: Any, output: Tensor) -> Tensor:
            noisy = output.clone()
            noisy[1:, subject.start : subject.stop] += noise.to(output)
            return noisy

        def called(layer: int) -> Callable[..., None]:
            def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                caught[layer] = (args, dict(kwargs))

            return hook

        def clean_output(layer: int) -> Callable[..., None]:
            def hook(_module: Any, _args: Any, output: Tensor) -> None:
                # A copy: Falcon adds to it in place. Some MLPs see all tokens in one dimension.
                outputs[layer] = output.view(*rows.shape, -1)[0].clone()

            return hook

        with lm.eval_mode() as handles:
            handles.append(lm.embeddings.register_forward_hook(corrupt))
            blocks = [lm.block(layer) for layer in range(lm.depth)]
            for layer, block in enumerate(blocks):
                handles.append(block.register_forward_pre_hook(called(layer), with_kwargs=True))
            handles.append(
                blocks[-1].register_forward_hook(
                    lambda _module, _args, output: last.append(first_tensor(output))
                )
            )
            for layer, module in modules.items():
                handles.append(module.register_forward_hook(clean_output(layer)))
            mask = torch.ones_like(rows)
            final = lm.body(input_ids=rows, attention_mask=mask, use_cache=False)[0]
        calls = tuple(Call(block, *caught[layer]) for layer, block in enumerate(blocks))
        runs = cls(
            lm=lm,
            target=torch.tensor(row.ids[row.target :], device=rows.device),
            inputs=(*(_hidden(*caught[layer]) for layer in range(lm.depth)), *last),
            outputs=outputs,
            modules=modules,
            calls=calls,
        )
        runs._verify(final)
        return runs

    def _verify(self, final: Tensor) -> None:
        """Without restoration, the replay must give what the model gave, in the last column."""
        some = torch.arange(2, device=final.device)
        hidden = self.inputs[0][some]
        for call in self.calls:
            hidden = call.pick(some, len(final)).run(hidden)
        replayed = self.lm.final_norm(hidden)
        require_replayed(self.lm.architecture, replayed[1, -1], final[1, -1])

    def chances(self, hidden: Tensor) -> Tensor:
        """Probability of the target, (rows,) float64, after the last block's output."""
        normed = self.lm.final_norm(hidden[:, -len(self.target) :])  # (rows, target tokens, u)
        logs = self.lm.logits(normed).double().log_softmax(dim=-1)
        target = self.target.expand(len(logs), -1)[..., None]  # (rows, target tokens, 1)
        return logs.gather(2, target)[..., 0].sum(dim=1).exp().cpu()

    def restored(self, places: Sequence[int], windows: Sequence[range]) -> Tensor:
        """Probability of the target, (places, windows), each token's state restored alone."""
        samples, device = len(self.inputs[0]) - 1, self.inputs[0].device
        index = torch.arange(1, samples + 1, device=device).repeat(len(places))
        row = torch.arange(len(index), device=device)
        at = torch.tensor(places, device=device).repeat_interleave(samples)
        calls = [call.pick(index, samples + 1) for call in self.calls]
        restored = []
        for window in windows:
            if self.modules:
                first = window.start
                hidden = self.inputs[first][index]
            else:
                first = window.stop
                hidden = self.inputs[first][index]
                hidden[row, at] = self.inputs[first][0, at]
            with self._restoring(window, row, at):
                for call in calls[first:]:
                    hidden = call.run(hidden)
            restored.append(self.chances(hidden).view(len(places), samples).mean(dim=1))
        return torch.stack(restored, dim=1)

    @contextmanager
    def _restoring(self, window: range, row: Tensor, at: Tensor) -> Iterator[None]:
        """The modules of a window give at (row, at) what they gave in the clean run."""

        def giving(clean: Tensor) -> Callable[..., Tensor]:
            def hook(_module: Any, _args: Any, output: Tensor) -> Tensor:
                moved = output.clone()
                moved.view(len(row), -1, output.shape[-1])[row, at] = clean[at]
                return moved

            return hook

        handles = [
            self.modules[layer].register_forward_hook(giving(self.outputs[layer]))
            for layer in window
            if layer in self.modules
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _hidden(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The hidden state that a module was called with."""
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state
