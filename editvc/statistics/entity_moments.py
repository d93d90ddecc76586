"""What a model knows of named things, and how to leave it alone: entity keys, and sensitivity.

Statistics of ordinary text guard facts poorly, for facts are read through few and rare keys: those
in prompts about an entity. :func:`entity_moments` takes their second moment. :func:`sensitivity`
takes the Fisher information of the hidden states there: in which directions a small push changes
what the model says. Targets that avoid those directions (see :mod:`editvc.editing.target_search`)
do little harm where an edit leaks into its neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.second_moment import SecondMoment
from editvc.core.edit_site import EditSite
from editvc.core.facts import PLACEHOLDER
from editvc.core.invisible import WAY_OUT, unseen
from editvc.core.plain_json import read_json
from editvc.core.progress import Progress
from editvc.models.attention import plain_attention
from editvc.models.forward import add_products, batches, gram, keys_at, padded_right
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, filled, subject_tokens
from editvc.statistics.corpus import CorpusError, text_lines

GENERIC_PROMPTS = (
    "{} is",
    "{} was known for",
    "The name {} belongs to",
    "A short note on {} says that",
)
"""Prompts for names that come without any of their own."""

PARTS = {"name": 0.4, "before": 0.4, "after": 0.2}
"""Weights in the entity moment: keys at the last token of the bare name; and, in prompts, at the
tokens before the name's last one and after it."""

SENSITIVE = {"name": 0.38, "before": 0.38, "end": 0.24}
"""Weights in the sensitivity: at the name's last token, before it, and at the prompt's last."""

SAMPLES = 2
"""Next tokens drawn per prompt for the Fisher information."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A name, and prompts about it with ``{}`` where it stands."""

    name: str
    prompts: tuple[str, ...] = GENERIC_PROMPTS[:2]


def read_entities(path: Path) -> list[Entity]:
    """Names, one a line, or facts in JSONL: ``subject`` and, where given, a ``prompt`` with {}.

    The prompts of a name are gathered in order. Raises :class:`CorpusError` naming the line.
    """
    prompts: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text_lines(path), 1):
        name, prompt = _read(line.strip(), f"{path}:{number}")
        for text in (name, prompt):
            if hidden := unseen(text):
                raise CorpusError(f"{path}:{number}", hidden.problem, hint=WAY_OUT)
        if name:
            of_name = prompts.setdefault(name, {})
            if prompt:
                of_name[prompt] = None
    if not prompts:
        raise CorpusError(str(path), "no names", hint="Write one name a line, or facts in JSONL.")
    return [
        Entity(name, tuple(of_name) or _generic(number))
        for number, (name, of_name) in enumerate(prompts.items())
    ]


def _read(line: str, place: str) -> tuple[str, str]:
    """Name and prompt of one line; either may be empty."""
    if line.startswith("["):
        raise CorpusError(
            place,
            "begins a list of JSON, where a name or one fact stands on a line",
            hint="`editvc convert FILE --to NEW.jsonl` writes facts so.",
        )
    if not line.startswith("{"):
        return line, ""
    try:
        record = read_json(line)
        fact = record.get("requested_rewrite", record)
        prompt = str(fact.get("prompt", ""))
        return str(fact["subject"]).strip(), prompt if prompt.count(PLACEHOLDER) == 1 else ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            place,
            "not a JSON object with a 'subject'",
            hint="`editvc convert FILE --to NEW.jsonl` writes facts one a line.",
        ) from error


def _generic(number: int) -> tuple[str, ...]:
    """Two of the generic prompts, another two from name to name."""
    count = len(GENERIC_PROMPTS)
    return GENERIC_PROMPTS[number % count], GENERIC_PROMPTS[(number + 1) % count]


def entity_moments(
    lm: LanguageModel,
    entities: Sequence[Entity],
    layers: Sequence[int],
    *,
    progress: Progress | None = None,
) -> SecondMoment:
    """``sum over PARTS of weight * E[k k^T]`` per layer, each mean over the keys of its part.

    A part without any key (no prompt has a token there) leaves its weight to the others. Raises
    :class:`CorpusError` without entities.
    """
    if not entities:
        raise CorpusError("entities", "no names to take statistics from")
    names = _tokenized(lm, [(entity.name, PLACEHOLDER) for entity in entities])
    prompted = _tokenized(lm, [(e.name, prompt) for e in entities for prompt in e.prompts])
    rows = _rows_of_parts(names, prompted)
    counts = Counter(part for row in rows for part in row.parts.values())
    whole = sum(PARTS[part] for part in counts)
    share = {part: PARTS[part] / (whole * count) for part, count in counts.items()}
    sums: dict[int, Tensor] = {}
    done = 0
    for batch in batches(rows, lambda row: len(row.ids)):
        places = [sorted(row.parts) for row in batch]
        keys = keys_at(lm, [row.ids for row in batch], places, layers)
        weights = [share[row.parts[at]] for row in batch for at in sorted(row.parts)]
        add_products(sums, _weighted(keys, weights))
        done += len(batch)
        if progress is not None:
            progress("names", done, len(rows))
    return SecondMoment.of(sums, len(entities), "names")


@dataclass(frozen=True, slots=True)
class _RowOfParts:
    """Tokens to run, and which part of the entity moment the keys of some columns belong to."""

    ids: tuple[int, ...]
    parts: dict[int, str]


def _rows_of_parts(
    names: Sequence[TokenizedPrompt], prompted: Sequence[TokenizedPrompt]
) -> list[_RowOfParts]:
    """The rows that have all keys of all parts, the shortest first.

    A name that a prompt begins with is not run: no key knows what comes after it, so the prompt's
    row has its key as well.
    """
    rows = []
    beginning: dict[tuple[int, ...], _RowOfParts] = {}
    for prompt in prompted:
        before = dict.fromkeys(range(prompt.subject), "before")
        after = dict.fromkeys(range(prompt.subject + 1, len(prompt.ids)), "after")
        rows.append(_RowOfParts(prompt.ids, before | after))
        beginning[prompt.ids[: prompt.subject + 1]] = rows[-1]
    for name in names:
        row = beginning.get(name.ids)
        if row is None or name.subject in row.parts:
            row = _RowOfParts(name.ids, {})
            rows.append(row)
        row.parts[name.subject] = "name"
    return sorted((row for row in rows if row.parts), key=lambda row: (len(row.ids), row.ids))


def _weighted(keys: Mapping[int, Tensor], weights: Sequence[float]) -> dict[int, Tensor]:
    """Keys (places, v) by layer, each times the root of its weight in the moment."""
    roots = torch.tensor(weights, dtype=torch.float64).sqrt()  # (places,)
    return {layer: each * roots[:, None].to(each) for layer, each in keys.items()}


def sensitivity(
    lm: LanguageModel,
    entities: Sequence[Entity],
    layers: Sequence[int],
    *,
    limit: int = 3000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Fisher information of what targets are for in ``layers``, (u, u) float64, trace u.

    ``F = E[g g^T]`` with ``g = d log p(y) / d h``, h the output of
    :meth:`editvc.models.language_model.LanguageModel.edited_module`, y drawn from the model's own
    prediction after a prompt about an entity; one prompt an entity, ``limit`` entities. The parts
    of ``SENSITIVE`` and the layers are brought to equal traces before they are summed.
    """
    rows = _tokenized(lm, [(one.name, one.prompts[0]) for one in entities[:limit]])
    generator = torch.Generator().manual_seed(seed)
    sums: dict[tuple[int, str], Tensor] = {}
    done = 0
    for batch in batches(rows, _length):
        ids, mask = padded_right([row.ids for row in batch], lm.device)
        for layer, gradient in _gradients(lm, ids, mask, layers, generator):
            for part, of_part in _by_part(gradient, batch):
                so_far = sums.get((layer, part), torch.zeros(()))
                sums[layer, part] = so_far + gram(of_part).double()  # (u, u)
        done += len(batch)
        if progress is not None:
            progress("sensitivity", done, len(rows))
    parts = [
        SENSITIVE[part] * moment / moment.trace().clamp_min(1e-30)
        for (_, part), moment in sums.items()
    ]
    total = torch.stack(parts).sum(dim=0)
    scaled: Tensor = total * (total.shape[0] / total.trace())
    return scaled


def _tokenized(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPrompt]:
    """Tokens of prompts with their names filled in, the shortest first."""
    texts = [filled(prompt, name) for name, prompt in pairs]
    ends = subject_tokens(lm.tokenizer, texts)
    wholes = subject_tokens(lm.tokenizer, [(text, len(text)) for text, _ in texts])
    rows = [
        TokenizedPrompt(whole.ids, end.subject, len(whole.ids))
        for whole, end in zip(wholes, ends, strict=True)
    ]
    return sorted(rows, key=lambda row: (len(row.ids), row.ids))


def _length(row: TokenizedPrompt) -> int:
    return len(row.ids)


def _gradients(
    lm: LanguageModel,
    ids: Tensor,
    mask: Tensor,
    layers: Sequence[int],
    generator: torch.Generator,
) -> Iterator[tuple[int, Tensor]]:
    """``d log p(y) / d h`` after every layer, (rows, columns, u), once for each drawn y.

    ``ids`` and ``mask`` are (rows, columns), padded on the right.
    """
    hidden: dict[int, Tensor] = {}

    def hook(layer: int) -> Callable[..., Any]:
        def catch(_module: Any, _args: Any, output: Any) -> Any:
            state = first_tensor(output)
            hidden[layer] = state if hidden else state.detach().requires_grad_()
            if isinstance(output, Tensor):
                return hidden[layer]
            return (hidden[layer], *output[1:])

        return catch

    with lm.eval_mode() as handles, torch.enable_grad(), plain_attention(lm.device):
        for layer in sorted(layers):
            module = lm.edited_module(layer, EditSite.BLOCK_OUTPUT)
            handles.append(module.register_forward_hook(hook(layer)))
        out = lm.body(input_ids=ids, attention_mask=mask, use_cache=False)[0]  # (rows, columns, u)
        ends = (mask.sum(dim=1) - 1).to(out.device)
        last = out[torch.arange(len(ids), device=out.device), ends]  # (rows, u)
        scores = lm.logits(last).float().log_softmax(dim=-1)
        chances = scores.detach().exp().cpu()
        for sample in range(SAMPLES):
            drawn = torch.multinomial(chances, 1, generator=generator).to(scores.device)
            gradients = torch.autograd.grad(
                scores.gather(1, drawn).sum(),
                [hidden[layer] for layer in sorted(layers)],
                retain_graph=sample + 1 < SAMPLES,
            )
            yield from zip(sorted(layers), gradients, strict=True)


def _by_part(gradient: Tensor, rows: Sequence[TokenizedPrompt]) -> Iterator[tuple[str, Tensor]]:
    """The gradients (places, u) of each part of ``SENSITIVE``, in float32 at least."""
    work = torch.promote_types(gradient.dtype, torch.float32)
    places = {
        "name": [(i, row.subject) for i, row in enumerate(rows)],
        "before": [(i, place) for i, row in enumerate(rows) for place in range(row.subject)],
        "end": [(i, len(row.ids) - 1) for i, row in enumerate(rows)
                if len(row.ids) - 1 > row.subject],
    }  # fmt: skip
    for part, pairs in places.items():
        if pairs:
            at = torch.tensor(pairs, device=gradient.device)
            yield part, gradient[at[:, 0], at[:, 1]].to(work).cpu()
