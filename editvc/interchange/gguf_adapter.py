"""A PEFT adapter as llama.cpp loads it (``--lora``): one GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from editvc.core.plain_json import read_json
from editvc.interchange.gguf_layout import GgufLayout
from editvc.interchange.peft_writer import CONFIG, WEIGHTS
from editvc.models.source import read_config


def write_adapter(adapter: Path, base: Path, path: Path, *, name: str) -> None:
    """Write the adapter of :func:`~editvc.interchange.peft_writer.export_lora` to ``path``.

    ``base`` is the folder of the model that it adapts. llama.cpp divides ``adapter.lora.alpha`` by
    the rank of each tensor, of which these have one. Raises
    :class:`~editvc.interchange.gguf_layout.GgufRefused`.
    """
    layout = GgufLayout(read_config(base, str(base)))
    from gguf import GGUFWriter

    config: dict[str, Any] = read_json((adapter / CONFIG).read_text(encoding="utf-8"))
    writer = GGUFWriter(path, layout.family)
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for key, factor in sorted(load_file(adapter / WEIGHTS).items()):
        module, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
        stored = f"{module}.weight"
        if side.startswith("B"):
            factor = layout.rows(stored, factor)  # (out, r)
        tensor = factor.float().contiguous().numpy()
        writer.add_tensor(f"{layout.name(stored)}.lora_{side[0].lower()}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
