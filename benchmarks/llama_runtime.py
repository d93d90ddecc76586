"""A real llama.cpp in this process, on one thread of the CPU (the package xllamacpp)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def completions(
    model: Path, prompts: Sequence[str], tokens: int, adapter: Path | None = None
) -> list[str]:
    """Greedy completions by a GGUF file, with an adapter where one is given."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel, params.warmup, params.n_gpu_layers = 256, 1, False, 0
    params.fit_params, params.verbosity, params.cpuparams.n_threads = False, 0, 1
    params.port = 0
    if adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    server = xllamacpp.Server(params)
    asked = {"n_predict": tokens, "temperature": 0.0, "cache_prompt": False}
    replies = [server.handle_completions(asked | {"prompt": prompt}) for prompt in prompts]
    return [reply["choices"][0]["text"] for reply in replies]
