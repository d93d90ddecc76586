"""What a tokenizer does, whatever way its files are written.

A ``tokenizer.json`` that a program has read and written again has other bytes: other white space,
another order of keys, merges as lists instead of text, defaults spelt out. None of that is content.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from editvc.core.ids import digest_of
from editvc.core.plain_json import read_json
from editvc.models.source import ModelNotFoundError

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
CONFIG = "tokenizer_config.json"

_OF_USE = ("padding", "truncation", "version")
"""What a tokenizer.json keeps of how it was last called, which each call says anew."""

_ADDS = ("add_bos_token", "add_eos_token")
"""Settings of tokenizer_config.json that change which tokens a text has."""


def content_digest(folder: Path, source: str) -> str:
    """A digest of what the tokenizer in ``folder`` does. Raises :class:`ModelNotFoundError`."""
    files = present(folder, source)
    names = ["tokenizer.json"] if "tokenizer.json" in files else files
    content: dict[str, Any] = {name: _content(folder / name, source) for name in names}
    config = _json(folder / CONFIG, source) if (folder / CONFIG).is_file() else {}
    added = {name: config[name] for name in _ADDS if config.get(name) is not None}
    return digest_of(content | added)


def bytes_digests(folder: Path, source: str) -> set[str]:
    """What the first versions of editvc may have called this tokenizer.

    They digested the file's bytes: as it is, and as it was if a program has written it again.
    """
    digests = {name: _sha256((folder / name).read_bytes()) for name in present(folder, source)}
    if "tokenizer.json" not in digests:
        return {digest_of(digests)}
    record = _json(folder / "tokenizer.json", source)
    written = [
        json.dumps(record, indent=2, ensure_ascii=False),
        json.dumps(record, separators=(",", ":"), ensure_ascii=False),
    ]
    return {digests["tokenizer.json"], *(_sha256(text.encode()) for text in written)}


def present(folder: Path, source: str) -> list[str]:
    """The tokenizer's files in a folder. Raises :class:`ModelNotFoundError` without any."""
    files = [name for name in FILES if (folder / name).is_file()]
    if not files:
        raise ModelNotFoundError(
            source,
            f"no tokenizer files in {folder}",
            hint="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).",
        )
    return files


def _content(path: Path, source: str) -> Any:
    if path.suffix != ".json":
        return _sha256(path.read_bytes())
    record = _json(path, source)
    if path.name != "tokenizer.json":
        return record
    content = {name: _plain(value) for name, value in record.items() if name not in _OF_USE}
    if _adds_nothing(content.get("post_processor")):
        content["post_processor"] = None
    model = content.get("model")
    if isinstance(model, dict):
        content["model"] = {k: v for k, v in model.items() if v is not False and v != ""}
        if isinstance(merges := model.get("merges"), list):
            content["model"]["merges"] = [_pair(merge) for merge in merges]
    return {name: value for name, value in content.items() if value is not None}


def _adds_nothing(processor: Any) -> bool:
    """Whether a post-processor is the template without any special token: as good as none."""
    template = isinstance(processor, dict) and processor.get("type") == "TemplateProcessing"
    return template and not processor.get("special_tokens")


def _pair(merge: Any) -> Any:
    """The two sides of a merge, which older files write as one text."""
    return merge.split(" ") if isinstance(merge, str) else merge


def _plain(value: Any) -> Any:
    """A value without what is null, at any depth: as if it were not there."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_plain(inner) for inner in value]
    return value


def _json(path: Path, source: str) -> dict[str, Any]:
    try:
        record = read_json(path.read_bytes())
    except ValueError as error:
        raise ModelNotFoundError(source, f"{path} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ModelNotFoundError(source, f"{path} holds no JSON object")
    return record


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
