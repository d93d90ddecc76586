"""The parts of a large model's work that `shapes.py` measures, each on numbers of a shape.

Each sets itself up; then ``clock("")`` begins and ``clock(name)`` ends a step.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapes_rows import read

from editvc.core.facts import Fact

if TYPE_CHECKING:
    from torch import Tensor

    from editvc.core.methods.locate import LocatedRecipe as Recipe
    from editvc.models.architectures import Architecture

ROOT = Path(__file__).resolve().parent.parent
HEAD = 128
"""Numbers of an attention head; eight heads have keys and values, as in Llama 3."""
EDITS = 8
"""Facts that the tokens of an edit are counted on."""
Case = dict[str, Any]
Clock = Callable[[str], None]


def idle(_case: Case, clock: Clock) -> Mapping[str, Any]:
    """What a process has that only imports."""
    import torch

    import editvc.materialise.materialiser  # noqa: F401

    clock("import")
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next(line for line in cpu.splitlines() if line.startswith("model name"))
    return {"machine": {"processor": model.split(": ")[1], "torch": torch.__version__}}


def factor(case: Case, clock: Clock) -> Mapping[str, Any]:
    """From stored moments of text and of names to the factor of a layer, as a first commit does."""
    import torch

    from editvc.algebra.second_moment import SecondMoment
    from editvc.core.ids import ObjectId
    from editvc.materialise.stored_preconditioners import Preconditioners
    from editvc.materialise.stored_statistics import Statistics
    from editvc.vcs.cache import Cache
    from editvc.vcs.files import Files

    v = case["v"]
    triangle = torch.full((v * (v + 1) // 2,), 1e-3)
    triangle[torch.arange(v, 0, -1).cumsum(0) - torch.arange(v, 0, -1)] = float(v)  # the diagonal
    recipe = recipe_of(ObjectId("0" * 64), ObjectId("1" * 64))
    moment = SecondMoment({0: triangle}, samples=10 * v)

    class Stored(Statistics):
        def moment(self, identifier: ObjectId) -> SecondMoment:
            return moment

    with tempfile.TemporaryDirectory() as folder:
        statistics = Stored(None)  # type: ignore[arg-type]
        cache = Cache(Path(folder), Files())
        clock("")
        statistics.weighted_moment(recipe, 0)
        clock("read")
        Preconditioners(statistics, cache).of_layer(recipe, 0)
        clock("made")
        Preconditioners(statistics, cache).of_layer(recipe, 0)
        clock("from the cache")
        kept = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {"bytes": kept}


def recipe_of(statistics: Any, entities: Any) -> Recipe:
    """The default recipe of memit in one layer, of these statistics."""
    from editvc.core.methods.locate import LocatedRecipe

    return LocatedRecipe(
        layers=(0,),
        statistics=statistics,
        entity_statistics=entities,
        contexts=("{}",),
        mom2_update_weight=1.0,
        entity_update_weight=1.0,
    )


def solve(case: Case, clock: Clock) -> Mapping[str, Any]:
    """A set of n edits, its factor at hand: the solution, and what health adds to it."""
    import torch

    from editvc.algebra.diagnostics import capacity
    from editvc.algebra.preconditioners import Whitening
    from editvc.algebra.solvers import SOLVERS, Edits

    u, v, n = case["u"], case["v"], case["n"]
    lower = torch.zeros(v, v, dtype=torch.float64)
    lower.diagonal().fill_(1.0)
    lower.diagonal(-1).fill_(0.1)
    edits = Edits(random(v, n).double(), random(u, n).double())
    whitening = Whitening(lower)
    clock("")
    system = SOLVERS["ridge"].system(edits, whitening)
    solution = system.solution
    clock("solution")
    if n <= v // 2:
        capacity(system)
        clock("capacity")
    return {"primal": system.primal, "rank": solution.rank}


def change(case: Case, clock: Clock) -> Mapping[str, Any]:
    """One commit of n edits, the first: what it adds to the weights, as its delta keeps it."""
    import torch

    from editvc.algebra.preconditioners import Whitening
    from editvc.algebra.solvers import SOLVERS, Edits

    u, v, n = case["u"], case["v"], case["n"]
    edits, none = Edits(random(v, n).double(), random(u, n).double()), Edits.empty(u, v)
    solver, whitening = SOLVERS["ridge"], Whitening(torch.eye(v, dtype=torch.float64))
    clock("")
    made = solver.change(solver.system(none, whitening), none, none, edits)
    clock("made")
    return {"rank": made.rank}


def gates(case: Case, clock: Clock) -> Mapping[str, Any]:
    """So many gated edits from their bytes to neurons, as files of bfloat16 keep them."""
    import torch

    from editvc.algebra.gated_edit import GatedEdit, Plateau
    from editvc.algebra.neurons import Neurons

    u, v, n = case["u"], case["v"], case["n"]
    one = GatedEdit(
        0, random(u), torch.tensor([0.7]), random(u), random(u), random(v), random(u), figures={}
    )
    stored, constant, plateau = one.to_bytes(), random(u).double(), Plateau(60.0, 0.1)
    clock("")
    edits = [GatedEdit.from_bytes(bytes(bytearray(stored))) for _ in range(n)]
    clock("read")
    parts = [plateau.neurons(edit, constant, biased=False) for edit in edits]
    neurons = Neurons.concatenated(parts).rounded(torch.bfloat16)
    clock("neurons")
    return {"neurons": len(neurons), "bytes": len(stored)}


def export(case: Case, clock: Clock) -> Mapping[str, Any]:
    """A checkpoint with a delta of rank n in its first layer, written as a model folder."""
    from editvc.algebra.delta import Delta
    from editvc.algebra.factored import Factored
    from editvc.interchange.hf_checkpoint import changes_of, export_hf

    u, v, n = case["u"], case["v"], case["n"]
    with tempfile.TemporaryDirectory() as scratch:
        base = checkpoint(Path(scratch) / "base", u, v, case["layers"])
        delta = Delta({0: Factored(random(u, n).double(), random(n, v).double())})
        clock("")
        export_hf(base, Path(scratch) / "out", changes_of(llama(), delta))
        clock("written")
        return {"bytes": weights(Path(scratch) / "out")}


def widen(case: Case, clock: Clock) -> Mapping[str, Any]:
    """A checkpoint with 2 n neurons more in its MLP, written as a model folder."""
    from editvc.algebra.neurons import Neurons
    from editvc.interchange.hf_checkpoint import export_hf
    from editvc.interchange.widening import widen as widened
    from editvc.models.checkpoint import Checkpoint

    u, v, m = case["u"], case["v"], 2 * case["n"]
    with tempfile.TemporaryDirectory() as scratch:
        base = checkpoint(Path(scratch) / "base", u, v, case["layers"])
        more = Neurons(random(m, u).double(), None, random(m, u).double(), random(u, m).double())
        clock("")
        wider = widened(llama(), Checkpoint(base), {0: more}, case["layers"], multiple=8)
        export_hf(base, Path(scratch) / "out", {}, mlps=wider)
        clock("written")
        return {"bytes": weights(Path(scratch) / "out")}


def moment(case: Case, clock: Clock) -> Mapping[str, Any]:
    """One batch of tokens added to the moment of a layer."""
    from editvc.models.forward import TOKENS_PER_BATCH, add_products

    tokens = TOKENS_PER_BATCH // 8  # an eighth, for the time; what a batch costs at all is below
    sums: dict[int, Tensor] = {}
    add_products(sums, {0: random(8, case["v"])})
    clock("")
    add_products(sums, {0: random(8, case["v"])})
    clock("batch")
    add_products(sums, {0: random(tokens, case["v"])})
    clock("tokens")
    return {"tokens": tokens, "in a batch": TOKENS_PER_BATCH}


def passes(case: Case, clock: Clock) -> Mapping[str, Any]:
    """So many tokens through one layer of a Llama, in float32, and back to its input."""
    import torch
    from transformers.models.llama import modeling_llama as llama3

    u, v, n = case["u"], case["v"], case["n"]
    config = llama3.LlamaConfig(
        hidden_size=u, intermediate_size=v, num_attention_heads=u // HEAD, head_dim=HEAD,
        num_key_value_heads=min(8, u // HEAD), num_hidden_layers=1, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.device("meta"):
        layer = llama3.LlamaDecoderLayer(config, 0).requires_grad_(False)
    layer = layer.to_empty(device="cpu")
    for weight in layer.parameters():
        weight.fill_(1e-3)
    x = random(1, n, u).requires_grad_()
    places = llama3.LlamaRotaryEmbedding(config)(x, torch.arange(n)[None])
    clock("")
    out = layer(x, position_embeddings=places)
    clock("forward")
    (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()
    clock("backward")
    return {"parameters": sum(one.numel() for one in layer.parameters())}


def locating(case: Case, clock: Clock) -> Mapping[str, Any]:
    """How many tokens an edit sends through a block of a model, and what a lock holds of it.

    In the mean over its blocks and eight facts: those below the edited layer see fewer.
    """
    import editvc
    from editvc.materialise.make_elements import make
    from editvc.publish.lock import Lock, LockedEdit
    from editvc.session.take_inputs import take_inputs, with_known_inputs

    model = case["model"] if case["model"] == "pocket" else ROOT / case["model"]
    rows = read(ROOT / "editvc" / "pocket" / "facts.jsonl")[: EDITS + 1]
    facts = [
        Fact(one["subject"], one["prompts"][0], other["object"]) for one, other in pairwise(rows)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        names = Path(scratch) / "names.txt"
        names.write_text("Ada Lovelace\nParis\n", encoding="utf-8")
        repo = editvc.Repo.init(Path(scratch) / "repo", str(model), later=True)
        session, chosen = repo.session, repo.choose(case["method"]).recipe
        if case["method"] == "gated":
            take_inputs(session, chosen.layers, entities=names)
            chosen = with_known_inputs(session, chosen)
        maker, lm = session.materialiser, session.base_model()
        tokens = {"forward": 0, "backward": 0}

        def count(_block: object, _given: object, out: object) -> None:
            hidden = out[0] if isinstance(out, tuple) else out
            tokens["forward"] += hidden[..., 0].numel()
            tokens["backward"] += hidden[..., 0].numel() * hidden.requires_grad

        for block in lm.model.get_submodule(maker.architecture.layers):
            block.register_forward_hook(count)
        clock("")
        make(maker, lm, [fact.request for fact in facts], chosen, None)
        clock("made")
        edits = [LockedEdit(one.slot, one, "0" * 64, chosen.id) for one in facts]
        locks = [Lock(maker.base, (chosen,), "0" * 64, None, of, {}, {}) for of in ((), edits)]
    empty, full = (len(lock.to_bytes()) for lock in locks)
    each = {name: count / lm.depth / len(facts) for name, count in tokens.items()}
    return {"tokens": each, "lock": (full - empty) / len(facts), "facts": len(facts)}


# -- values -----------------------------------------------------------------------------------


def random(*shape: int) -> Tensor:
    """Small numbers, float32."""
    import torch

    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1e-2


def llama() -> Architecture:
    """Where a Llama has its weights."""
    from editvc.models.architectures import architecture_of

    return architecture_of("llama")


def checkpoint(folder: Path, u: int, v: int, layers: int) -> Path:
    """A Llama's blocks in bfloat16, a shard each: zeros, which a file with holes does not store."""
    from editvc.models.checkpoint import INDEX, Info, header_of

    folder.mkdir()
    config = {"model_type": "llama", "hidden_size": u, "intermediate_size": v}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    few = HEAD * min(8, u // HEAD)
    matrices = {
        "mlp.down_proj": (u, v), "mlp.gate_proj": (v, u), "mlp.up_proj": (v, u),
        "self_attn.k_proj": (few, u), "self_attn.o_proj": (u, u), "self_attn.q_proj": (u, u),
        "self_attn.v_proj": (few, u),
    }  # fmt: skip
    names: dict[str, str] = {}
    for layer in range(layers):
        named = {f"model.layers.{layer}.{name}.weight": shape for name, shape in matrices.items()}
        sizes = {name: 2 * rows * columns for name, (rows, columns) in named.items()}
        infos = {name: Info("BF16", shape) for name, shape in named.items()}
        file = f"model-{layer + 1:05d}.safetensors"
        with (folder / file).open("wb") as out:
            out.write(header_of(infos, sizes, {"format": "pt"}))
            out.truncate(out.tell() + sum(sizes.values()))
        names |= dict.fromkeys(named, file)
    index = {"metadata": {"total_size": 0}, "weight_map": names}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return folder


def weights(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


PARTS: dict[str, Callable[[Case, Clock], Mapping[str, Any]]] = {
    "idle": idle,
    "factor": factor,
    "solve": solve,
    "change": change,
    "gates": gates,
    "export": export,
    "widen": widen,
    "moment": moment,
    "pass": passes,
    "locating": locating,
}
