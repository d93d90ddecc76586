"""What reads things from outside: each a name, sound examples, and the function that reads one."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from vcs_values import BASE, CONFIG, RECIPE, commit_facts, create, fact

from editvc.algebra.delta import delta_from_bytes
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.core.fact_files.choices import only_candidate
from editvc.core.fact_files.reader import examined
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.core.ids import canonical_json
from editvc.core.methods.foreign_hparams import read_hparams
from editvc.core.methods.table import METHODS, recipe_class
from editvc.interchange.manifest import is_export, strangers
from editvc.interchange.peft_reader import read_adapter
from editvc.interchange.staging import staged
from editvc.models.architectures import read_block
from editvc.models.checkpoint import Checkpoint
from editvc.models.fingerprint import describe
from editvc.models.source import open_model
from editvc.publish.card import base_facts
from editvc.publish.lock import Lock, LockedEdit
from editvc.session.choose_recipe import read_yaml
from editvc.statistics.corpus import file_texts
from editvc.statistics.text_moments import moments_from_npz
from editvc.vcs import codec, config_file, edit_set
from editvc.vcs.files import Files
from editvc.vcs.fsck import DECODERS
from editvc.vcs.object_links import checked_links
from editvc.vcs.pack_intake import dropped, received
from editvc.vcs.packs import write_pack
from editvc.vcs.store import MemoryStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
POCKET = Path(__file__).resolve().parents[2] / "editvc" / "pocket" / "model"


@dataclass(frozen=True)
class Target:
    """``read`` takes the bytes of one file: it returns, or raises an ``EditvcError``."""

    name: str
    examples: tuple[bytes, ...]
    read: Callable[[bytes], object]


def targets(folder: Path) -> list[Target]:
    """All of them; ``folder`` is theirs to write to."""
    return [*_of_store(folder), *_of_text(folder), *_of_models(folder), *_of_exports(folder)]


# The store ------------------------------------------------------------------------------------


def _of_store(folder: Path) -> Iterator[Target]:
    repo = create(folder / "repository")
    for start in (0, 40):
        commit_facts(repo, *(fact(number) for number in range(start, start + 40)))
    objects = {one: repo.store.get(one) for one in repo.store.ids()}
    repo.close()
    yield Target("objects", tuple(objects.values()), _read_object)
    stream, here = io.BytesIO(), folder / "packs"
    write_pack(stream, objects.items())

    def take(data: bytes) -> None:
        sealed = data[:-32] + sha256(data[:-32]).digest()  # else that alone would refuse it
        dropped(received(io.BytesIO(sealed), here, Files(), "a file"))

    yield Target("packs", (stream.getvalue(),), take)
    nodes = [data for data in objects.values() if codec.kind_of(data) == "edits"]
    known = MemoryStore()
    known.objects.update(objects)

    def walk(data: bytes) -> None:
        root = known.put(data)
        found = edit_set.EditSet(known, root)
        try:
            entries = list(found.entries())
            found.update({entries[0].slot: None})
            edit_set.verify(known, root, {})
        finally:
            if root not in objects:
                del known.objects[root]

    yield Target("edit sets", tuple(nodes), walk)
    yield Target("settings", (CONFIG.encode(),), lambda data: config_file.parse(_text(data)))


def _read_object(data: bytes) -> None:
    record = codec.record_of(data)
    try:
        checked_links(record)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
    if (decode := DECODERS.get(str(record["kind"]))) is not None:
        decode(data)
    if "recipe" in record or "import" in record:
        _ = codec.metadata(data)["recipe"]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# Texts that people write ----------------------------------------------------------------------


def _of_text(folder: Path) -> Iterator[Target]:
    examples = sorted((EXAMPLES / "facts").iterdir())
    for kind in sorted({path.suffix for path in examples}):
        sound = tuple(path.read_bytes() for path in examples if path.suffix == kind)

        def read_facts(data: bytes, kind: str = kind) -> None:
            examined([(f"facts{kind}", data)], target="alt", subject=only_candidate)

        yield Target(f"facts {kind}", sound, read_facts)
    path = folder / "recipe.yaml"

    def recipe(data: bytes) -> None:
        path.write_bytes(data)
        record = read_yaml(path)
        if "method" not in record:
            read = read_hparams(record, None)
            record = {"method": read.method, **read.numbers}
        cls = recipe_class(str(record["method"]))
        named = {"layers": [1], "contexts": ["{}"], "statistics": None}
        cls.read({name: one for name, one in named.items() if name in cls.settings()} | record)

    rows = [METHODS[name] for name in ("memit", "grace", "ft", "gated")]
    sound = [json.dumps({"method": row.name} | dict(row.numbers)).encode() for row in rows]
    foreign = {"alg_name": "MEMIT", "layers": [3, 4], "clamp_norm_factor": 0.75, "v_lr": 0.5}
    yield Target("recipes", (*sound, json.dumps(foreign).encode(), _YAML), recipe)
    corpus = folder / "text.jsonl"

    def texts(data: bytes) -> None:
        corpus.write_bytes(data)
        list(file_texts(corpus))

    yield Target("texts", (b'{"text": "one"}\n{"text": "two"}\n',), texts)


_YAML = b"method: memit\nlayers: [1, 2]\nlambda_: 0.5\n# why\ncontexts:\n  - '{}'\n  - \"So. {}\"\n"


# Models ---------------------------------------------------------------------------------------


def _of_models(folder: Path) -> Iterator[Target]:
    model = folder / "model"
    shutil.copytree(POCKET, model)
    sound = {name: (model / name).read_bytes() for name in ("config.json", "tokenizer_config.json")}

    def of_file(name: str) -> Callable[[bytes], None]:
        def read(data: bytes) -> None:
            (model / name).write_bytes(data)
            try:
                files = open_model(str(model))
                describe(files)
            finally:
                (model / name).write_bytes(sound[name])

        return read

    for name, data in sound.items():
        yield Target(name, (data,), of_file(name))
    block = folder / "block.toml"

    def architecture(data: bytes) -> None:
        block.write_bytes(data)
        read_block(block)

    table = (Path(codec.__file__).parents[1] / "models" / "architectures.toml").read_text("utf-8")
    first = table.split("\n\n[")[1]
    yield Target("architectures", (f"[mine{first[first.index(']') :]}".encode(),), architecture)
    yield from _checkpoints(folder, model)


def _checkpoints(folder: Path, model: Path) -> Iterator[Target]:
    small = folder / "small"
    small.mkdir()
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(4)}, small / "model-1.safetensors")
    index = json.dumps({"weight_map": dict.fromkeys("ab", "model-1.safetensors")}).encode()
    shard = (small / "model-1.safetensors").read_bytes()

    def checkpoint(name: str, sound: bytes) -> Callable[[bytes], None]:
        def read(data: bytes) -> None:
            (small / name).write_bytes(data)
            try:
                found = Checkpoint(small)
                for tensor in found.tensors:
                    found.read(tensor)
            finally:
                (small / name).write_bytes(sound)

        return read

    (small / "model.safetensors.index.json").write_bytes(index)
    yield Target("safetensors", (shard,), checkpoint("model-1.safetensors", shard))
    name = "model.safetensors.index.json"
    yield Target("safetensors index", (index,), checkpoint(name, index))
    adapter = folder / "adapter"
    adapter.mkdir()
    module = "model.layers.1.mlp.down_proj"
    config = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["down_proj"],
        "bias": "none", "rank_pattern": {module: 2}, "alpha_pattern": {},
        "base_model_name_or_path": "x/y",
    }  # fmt: skip
    files = open_model(str(model))
    base = Checkpoint(files.folder)
    out, inner = base.info(files.architecture.weight_name(1)).shape
    factors = {"A": torch.ones(2, inner), "B": torch.ones(out, 2)}
    save_file(
        {f"base_model.model.{module}.lora_{side}.weight": one for side, one in factors.items()},
        adapter / "adapter_model.safetensors",
    )

    def lora(data: bytes) -> None:
        (adapter / "adapter_config.json").write_bytes(data)
        read_adapter(adapter, files.folder, files.architecture)

    yield Target("adapter_config.json", (json.dumps(config).encode(),), lora)
    moments = folder / "moments.npz"

    def npz(data: bytes) -> None:
        moments.write_bytes(data)
        moments_from_npz({1: moments})

    yield Target("npz", tuple(_npz()), npz)


def _npz() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **{"mom2.mom2": np.eye(4, dtype=np.float32), "mom2.count": np.array(7)})
        yield stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("mom2.mom2.npy", b"\x93NUMPY\x01\x00")
    yield stream.getvalue()


# Exports and what is published ----------------------------------------------------------------


def _of_exports(folder: Path) -> Iterator[Target]:
    one = Fact("Ünïcode", "{} is in", "Lyon", paraphrases=("a", "b"), tags=("x",))
    lock = Lock(
        base=BASE, recipes=(RECIPE,), tree="5" * 64, restraint=Restraint(prune=1.2),
        edits=(LockedEdit(one.slot, one, "6" * 64, RECIPE.id),),
        export={"format": "hf", "digest": "6" * 64}, statistics={RECIPE.statistics: {"samples": 3}},
        patches=({"patch": "9" * 64, "kind": "lora", "source": "a", "digest": "a" * 64},),
    )  # fmt: skip
    yield Target("locks", (lock.to_bytes(),), Lock.from_bytes)
    card = b"---\nlicense: mit\nlanguage:\n- en\ntags: [a, b]\npipeline_tag: x\n---\n# A\n"
    yield Target("cards", (card,), lambda data: base_facts(_text(data)))
    out = folder / "out"
    with staged(out) as partial:
        (partial / "weights").write_bytes(b"w")
        (partial / "editvc.json").write_text('{"format": "hf", "editvc": "0"}')
    sound = (out / "editvc.json").read_bytes()

    def manifest(data: bytes) -> None:
        (out / "editvc.json").write_bytes(data)
        is_export(out)
        strangers(out)

    yield Target("manifests", (sound,), manifest)
    numbers = {
        "layer.1.left": torch.ones(4, 2), "layer.1.right": torch.ones(2, 8),
        "layer.1.key": torch.ones(8), "layer.1.residual": torch.ones(4),
    }  # fmt: skip
    for kind, read, names in (
        ("located", Located.from_bytes, ("key", "residual")),
        ("patch", Patch.from_bytes, ("left", "right")),
        ("delta", delta_from_bytes, ("left", "right")),
    ):
        path = folder / f"{kind}.safetensors"
        about = canonical_json(
            {"kind": kind, "figures": {"loss": 0.5}, "recipe": "0" * 64}
        ).decode()
        tensors = {name: one for name, one in numbers.items() if name.split(".")[2] in names}
        save_file(tensors, path, metadata={"editvc": about})
        yield Target(kind, (path.read_bytes(),), read)
