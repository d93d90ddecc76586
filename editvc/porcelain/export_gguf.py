"""``export --format gguf`` and ``gguf-lora``: files for llama.cpp and Ollama, loaded and asked."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from editvc.core.history import Tree
from editvc.evaluation.scores import answers_correctly
from editvc.interchange.gguf_adapter import write_adapter
from editvc.interchange.gguf_file import write_gguf, write_like
from editvc.interchange.gguf_layout import GgufLayout, GgufRefused
from editvc.interchange.gguf_unpack import load_gguf, packed_as, sha256
from editvc.interchange.manifest import write_manifest
from editvc.interchange.staging import staged
from editvc.models.generation import generate
from editvc.models.source import read_config
from editvc.porcelain.export_hf import LENGTH, export_model
from editvc.porcelain.export_lora import export_adapter
from editvc.porcelain.export_result import Answer, Export, served_name
from editvc.session.session import Session

MODEL, ADAPTER, MODELFILE = "model.gguf", "adapter.gguf", "Modelfile"
SCRATCH = "scratch"
"""The Hugging Face export that a GGUF file is made of, gone when that stands."""


def export_gguf(
    session: Session,
    target: Path,
    tree: Tree,
    revision: str,
    replace: bool,
    keep_width: bool,
    quantize: str | None,
) -> Export:
    """A whole model as one file: that of ``--format hf``, checked as such, and asked once more.

    Of a base that was a GGUF file, only what the edits reach is encoded anew, unless ``quantize``
    names a type for all. A quantised file may answer otherwise than the revision; that is told.
    """
    maker = session.materialiser
    GgufLayout(read_config(maker.folder, maker.base.source))  # refused before any work
    base = packed_as(maker.folder) if quantize is None else None
    name = served_name(tree)
    with staged(target, replace=replace) as folder:
        scratch, path = folder / SCRATCH, folder / MODEL
        whole = export_model(session, scratch, tree, revision, False, keep_width, None)
        if base is None:
            coarse = write_gguf(scratch, path, type=quantize, name=name, progress=session.progress)
            notes = tuple(f"{one} is F16: its rows do not divide into blocks" for one in coarse)
        else:
            encoded = write_like(
                base, scratch, path, unedited=maker.folder, touched=whole.touched,
                progress=session.progress,
            )  # fmt: skip
            notes = (f"encoded anew, each in its own type: {', '.join(encoded) or 'nothing'}",)
        shutil.rmtree(scratch)
        try:
            answers = _asked(session, path, whole.answers)
        except GgufRefused as refused:
            answers, notes = (), (*notes, f"the file itself was not asked: {refused}")
        digest = sha256(path)
        (folder / MODELFILE).write_text(f"FROM ./{MODEL}\n", encoding="utf-8")
        write_manifest(folder, "gguf", {"digest": digest, "base_digest": whole.base_digest})
    return dataclasses.replace(
        whole,
        kind="gguf",
        path=target,
        digest=digest,
        answers=answers,
        checks=tuple(answer.line for answer in answers),
        notes=(*whole.notes, *notes),
        commands=(
            shlex.join(("llama-server", "-m", str(target / MODEL))),
            _ollama(target, name),
        ),
    )


def export_gguf_adapter(
    session: Session, target: Path, tree: Tree, revision: str, rank: int | None, replace: bool
) -> Export:
    """The adapter of ``--format lora``, checked as such, in llama.cpp's form."""
    maker = session.materialiser
    GgufLayout(read_config(maker.folder, maker.base.source))
    base = packed_as(maker.folder)
    named = str(base) if base is not None else "base.gguf"
    with staged(target, replace=replace) as folder:
        scratch, path = folder / SCRATCH, folder / ADAPTER
        delta = maker.delta(tree)
        peft = export_adapter(session, scratch, tree, delta, revision, rank, False, None)
        write_adapter(scratch, maker.folder, path, name=served_name(tree))
        shutil.rmtree(scratch)
        text = f"FROM {named}\nADAPTER ./{ADAPTER}\n"
        (folder / MODELFILE).write_text(text, encoding="utf-8")
        digest = sha256(path)
        write_manifest(folder, "gguf-lora", {"digest": digest})
    stand = "base.gguf stands for the base as a GGUF file: `editvc export base --format gguf`"
    notes = () if base is not None else (stand,)
    line = ("llama-server", "-m", named, "--lora", str(target / ADAPTER))
    return dataclasses.replace(
        peft,
        kind="gguf-lora",
        path=target,
        digest=digest,
        notes=(*peft.notes, *notes),
        commands=(shlex.join(line), _ollama(target, served_name(tree))),
    )


def _ollama(target: Path, name: str) -> str:
    return shlex.join(("ollama", "create", name, "-f", str(target / MODELFILE)))


def _asked(session: Session, path: Path, answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """What the file says where the folder that it was made of was asked."""
    lm = load_gguf(path, session.materialiser.architecture)
    made = []
    for answer in answers:
        length = max(LENGTH, len(lm.tokenizer(answer.fact.target_new).input_ids) + 2)
        said = generate(lm, answer.fact.question, length).rstrip()
        made.append(Answer(answer.fact, said, answers_correctly(said.strip(), answer.fact)))
    return tuple(made)
