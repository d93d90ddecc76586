"""Training of MEND's editor: single edits, each judged on another wording and on what lies beside.

For a fact, the editor's change is made from the gradient of its own prompt, and the loss is

    L = c_edit * NLL(target | prompt or paraphrase; W + Delta) + KL(p_W || p_{W + Delta})

with the KL of what follows a locality prompt (equation 5 of the paper). A batch holds single edits:
every row of it runs under a change of its own.

Mitchell et al. 2022, Fast Model Editing at Scale, arXiv 2110.11309.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from editvc.core.facts import Fact, Request
from editvc.core.methods.mend import Matrices
from editvc.core.progress import Progress
from editvc.editing.mend import Gradients, changed, gradients
from editvc.editing.mend_editor import (
    Editor,
    Matrix,
    Pairs,
    Statistics,
    is_fixed,
    is_rate,
    matrices_of,
)
from editvc.errors import EditvcError
from editvc.models.forward import at_targets, final_states, target_losses
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize

FEWEST = 4
NEIGHBOURS = 10
"""How many other facts' questions stand in for the locality prompts of a fact that has none."""


class TooFewFacts(EditvcError):
    """An edit set that leaves nothing to train on or nothing to judge by."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"an editor cannot be trained on {count} facts, it takes {FEWEST} at the least",
            hint="Some hundreds make a useful one.",
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """How an editor is trained. ``edit_lr``, ``lr``, ``lr_lr`` and ``cedit`` as in MEND's files.

    ``rank`` of the network's blocks; at most ``steps`` of Adam over ``batch`` single edits, with
    learning rate ``lr`` for the network and ``lr_lr`` for the alphas, which begin at ``edit_lr``.
    Both fall in a straight line, for these are hundreds of steps, not the paper's many thousands.
    ``held_out`` is the share of the facts that training is judged by, every ``interval`` steps; it
    ends early after ``patience`` such looks without a better one. ``published`` is that of
    :class:`editvc.editing.mend_editor.Editor`. ``matrices``: all of the MLP, or down projections
    alone.
    """

    layers: tuple[int, ...]
    rank: int = 192
    steps: int = 300
    batch: int = 10
    edit_lr: float = 3e-4
    lr: float = 1e-3
    lr_lr: float = 2e-5
    cedit: float = 1.0
    held_out: float = 0.1
    interval: int = 50
    patience: int = 4
    published: bool = False
    matrices: Matrices = "mlp"

    def kept_back(self, facts: int) -> int:
        """How many of so many facts are held out."""
        return max(1, round(self.held_out * facts))

    def to_json(self) -> dict[str, Any]:
        """By name, as an editor's ``origin`` has them."""
        record = asdict(self) | {"layers": list(self.layers)}
        # As before there was a choice.
        if not self.published:
            del record["published"]
        if self.matrices == "down":
            del record["matrices"]
        return record


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One fact as tokens: the edit, the wordings that shall follow it, the prompts that shall not.

    The first of ``wordings`` is the edit itself; of the ``locality`` prompts, the answers stay.
    """

    wordings: tuple[TokenizedPrompt, ...]
    locality: tuple[tuple[int, ...], ...]

    @property
    def edit(self) -> TokenizedPrompt:
        """The wording that the editor's change is made from."""
        return self.wordings[0]


@dataclass(frozen=True, slots=True)
class EditorMetrics:
    """A mean over facts: shares in per cent, losses in nats.

    ``success`` and ``paraphrase``: every token of the target is the first choice after the edit's
    own prompt, and after another wording. ``locality``: the first choice after a locality prompt is
    the base's. ``nll`` and ``kl`` are the parts of the loss.
    """

    success: float
    paraphrase: float
    locality: float
    nll: float
    kl: float


Watch = Callable[[int, EditorMetrics], None]
"""Called with a step and how the facts held out do at it."""


def train(
    lm: LanguageModel,
    facts: Sequence[Fact],
    settings: Settings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Editor:
    """Train an editor on facts; the model's weights are not touched.

    The same facts, settings and seed give the same editor on one machine. ``origin`` of the editor
    holds the settings, the seed and what was judged: ``validation`` on the facts held out,
    ``training`` on as many of the others. Raises :class:`TooFewFacts`, what
    :func:`editvc.editing.mend_editor.matrices_of` raises, and the errors of
    :mod:`editvc.models.tokenization`.
    """
    require_enough(len(facts))
    draw = torch.Generator().manual_seed(seed)
    examples = examples_of(lm, facts)
    order = torch.randperm(len(examples), generator=draw).tolist()
    count = settings.kept_back(len(examples))
    held_out = [examples[index] for index in order[:count]]
    train_set = [examples[index] for index in order[count:]]
    editor = Editor.untrained(
        normalisation(lm, train_set, settings), rank=settings.rank, rate=settings.edit_lr,
        seed=seed, published=settings.published,
    )  # fmt: skip
    best = _optimised(lm, editor, train_set, held_out, settings, draw, progress, watch)
    figures = {
        "validation": asdict(judge(lm, best, held_out, settings)),
        "training": asdict(judge(lm, best, train_set[:count], settings)),
    }
    origin = {"settings": settings.to_json(), "seed": seed, "facts": len(facts), "figures": figures}
    return replace(best, origin=dict(best.origin) | origin)


def require_enough(facts: int) -> None:
    """Raise :class:`TooFewFacts` for a number that no editor can be trained on."""
    if facts < FEWEST:
        raise TooFewFacts(facts)


def examples_of(lm: LanguageModel, facts: Sequence[Fact]) -> list[TrainingExample]:
    """The tokens of every fact. Without locality prompts, the next facts' questions are used."""
    examples = []
    for number, fact in enumerate(facts):
        requests = [fact.request]
        requests += [Request(text, "{}", fact.target_new) for text in fact.paraphrases]
        texts = fact.locality or _questions_near(facts, number)
        locality = tuple(tuple(lm.tokenizer(text)["input_ids"]) for text in texts)
        wordings = tuple(row for (row,) in tokenize(lm.tokenizer, requests))
        examples.append(TrainingExample(wordings, locality))
    return examples


def _questions_near(facts: Sequence[Fact], number: int) -> tuple[str, ...]:
    others = [*facts[number + 1 :], *facts[:number]]
    subject = facts[number].subject
    return tuple(one.question for one in others if one.subject != subject)[:NEIGHBOURS]


def normalisation(
    lm: LanguageModel, examples: Sequence[TrainingExample], settings: Settings
) -> Statistics:
    """Mean and standard deviation of the pairs of all edits' tokens.

    A deviation of 0 (a neuron that never fires) is given as 1.
    """
    sums: dict[Matrix, Tensor] = {}
    squares: dict[Matrix, Tensor] = {}
    count = 0
    matrices = matrices_of(lm.architecture, settings.layers, settings.matrices)
    for batch in _chunks(examples, settings.batch):
        of_edits = edit_gradients(lm, batch, matrices)
        count += int(of_edits.mask.sum())
        for matrix, pairs in of_edits.pairs.items():
            flat = torch.cat(pairs, dim=-1).flatten(0, 1).double()  # (tokens, z), 0 where padded
            sums[matrix] = sums.get(matrix, 0.0) + flat.sum(0)
            squares[matrix] = squares.get(matrix, 0.0) + flat.square().sum(0)
    statistics = {}
    for matrix in matrices:
        mean = sums[matrix] / count
        variance = (squares[matrix] / count - mean.square()).clamp_min(0)
        std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
        statistics[matrix] = (mean.float(), std.float())
    return statistics


def _optimised(
    lm: LanguageModel,
    editor: Editor,
    train_set: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    settings: Settings,
    draw: torch.Generator,
    progress: Progress | None,
    watch: Watch | None,
) -> Editor:
    """The editor of the look with the least loss on the facts held out."""
    tensors = {
        name: tensor.clone().requires_grad_(not is_fixed(name))
        for name, tensor in editor.tensors.items()
    }
    learning = replace(editor, tensors=tensors)
    network = [tensors[name] for name in tensors if not (is_fixed(name) or is_rate(name))]
    rates = [tensors[name] for name in tensors if is_rate(name)]
    groups: list[dict[str, Any]] = [
        {"params": network},
        {"params": rates, "lr": settings.lr_lr},
    ]
    adam = torch.optim.Adam(groups, lr=settings.lr)
    decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, settings.steps)
    parameters = [*network, *rates]
    best, least, waited = editor, float("inf"), 0
    batches = _drawn(train_set, settings.batch, draw)
    for step in range(1, settings.steps + 1):
        loss = example_losses(lm, learning, next(batches), settings, draw).mean()
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = slope
        adam.step()
        decay.step()
        if progress is not None:
            progress("training", step, settings.steps)
        if step % settings.interval and step != settings.steps:
            continue
        metrics = judge(lm, learning, held_out, settings)
        if watch is not None:
            watch(step, metrics)
        total = settings.cedit * metrics.nll + metrics.kl
        if total < least:
            kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            best, least, waited = replace(editor, tensors=kept, origin={"steps": step}), total, 0
        else:
            waited += 1
        if waited >= settings.patience:
            break
    return best


@torch.enable_grad()
def example_losses(
    lm: LanguageModel,
    editor: Editor,
    examples: Sequence[TrainingExample],
    settings: Settings,
    draw: torch.Generator,
) -> Tensor:
    """The loss (examples,) of single edits; wording and locality prompt are drawn for each."""
    wordings = [_pick(example.wordings, draw) for example in examples]
    prompts = [_pick(example.locality, draw) for example in examples]
    changes = changes_of(editor, edit_gradients(lm, examples, editor.matrices))
    with changed(lm, twice(changes)):
        hidden, _ = final_states(lm, [*(row.ids[:-1] for row in wordings), *prompts])
    nll = target_losses(lm, hidden[: len(wordings)], wordings)
    after = logits_after(lm, hidden[len(wordings) :], prompts)
    return settings.cedit * nll + divergences(base_logits(lm, prompts), after)


def edit_gradients(
    lm: LanguageModel, examples: Sequence[TrainingExample], matrices: Sequence[Matrix]
) -> Gradients:
    """What the edits themselves ask of each matrix."""
    return gradients(lm, [example.edit for example in examples], matrices)


def changes_of(editor: Editor, of_edits: Gradients) -> dict[Matrix, Pairs]:
    """The editor's change for every row of a batch; padded tokens add nothing."""
    seen = of_edits.mask[..., None]  # (rows, columns, 1)
    changes = {matrix: editor.change(matrix, *pairs) for matrix, pairs in of_edits.pairs.items()}
    return {matrix: (right, left * seen) for matrix, (right, left) in changes.items()}


def twice(changes: Mapping[Matrix, Pairs]) -> dict[Matrix, Pairs]:
    """The changes of a batch for that batch given twice."""
    return {
        matrix: (torch.cat([right, right]), torch.cat([left, left]))
        for matrix, (right, left) in changes.items()
    }


def logits_after(lm: LanguageModel, hidden: Tensor, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Logits (rows, vocabulary) of what follows each prompt, of states behind the final norm."""
    rows = torch.arange(len(prompts), device=hidden.device)
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
    return lm.logits(hidden[rows, last])


@torch.no_grad()
def base_logits(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> Tensor:
    """The same of the model as it is."""
    return logits_after(lm, final_states(lm, prompts)[0], prompts)


def divergences(base: Tensor, now: Tensor) -> Tensor:
    """KL(base || now) (rows,) in nats, of logits (rows, vocabulary)."""
    before, after = base.log_softmax(-1), now.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1)


@torch.no_grad()
def judge(
    lm: LanguageModel, editor: Editor, examples: Sequence[TrainingExample], settings: Settings
) -> EditorMetrics:
    """How single edits of these facts go: the prompt, the last paraphrase, a locality prompt."""
    sums = dict.fromkeys(("success", "paraphrase", "locality", "nll", "kl"), 0.0)
    for batch in _chunks(examples, settings.batch):
        changes = changes_of(editor, edit_gradients(lm, batch, editor.matrices))
        for name, rows in (
            ("success", [example.edit for example in batch]),
            ("paraphrase", [example.wordings[-1] for example in batch]),
        ):
            with changed(lm, changes):
                hidden, _ = final_states(lm, [row.ids[:-1] for row in rows])
            sums["nll"] += float(target_losses(lm, hidden, rows).sum()) / 2
            sums[name] += 100.0 * _all_first(lm, hidden, rows)
        prompts = [example.locality[0] for example in batch]
        with changed(lm, changes):
            now = logits_after(lm, final_states(lm, prompts)[0], prompts)
        base = base_logits(lm, prompts)
        sums["kl"] += float(divergences(base, now).sum())
        sums["locality"] += 100.0 * int((now.argmax(-1) == base.argmax(-1)).sum())
    return EditorMetrics(**{name: total / len(examples) for name, total in sums.items()})


def _all_first(lm: LanguageModel, hidden: Tensor, rows: Sequence[TokenizedPrompt]) -> int:
    """How many rows have their whole target as first choices."""
    logits, tokens, row = at_targets(lm, hidden, rows)
    wrong = torch.bincount(row, logits.argmax(-1) != tokens, minlength=len(rows))
    return int((wrong == 0).sum())


def _pick(choices: Sequence[Any], draw: torch.Generator) -> Any:
    return choices[int(torch.randint(len(choices), (1,), generator=draw))]


def _drawn(
    examples: Sequence[TrainingExample], size: int, draw: torch.Generator
) -> Iterator[list[TrainingExample]]:
    """Batches without end: all examples in a new order, again and again."""
    while True:
        order = torch.randperm(len(examples), generator=draw).tolist()
        yield from _chunks([examples[index] for index in order], size)


def _chunks(examples: Sequence[TrainingExample], size: int) -> Iterator[list[TrainingExample]]:
    for start in range(0, len(examples), size):
        yield list(examples[start : start + size])
