"""vLLM's interface of LoRA resolvers, for where vLLM is not installed: no more than it has."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import pytest


@dataclass
class LoRARequest:
    """``vllm.lora.request.LoRARequest``, which asks for a number above 0 and a path."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self) -> None:
        assert self.lora_int_id >= 1 and self.lora_path


class LoRAResolver(ABC):
    """``vllm.lora.resolver.LoRAResolver``."""

    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None: ...


class Registry:
    """``vllm.lora.resolver.LoRAResolverRegistry``, an instance there."""

    def __init__(self) -> None:
        self.resolvers: dict[str, LoRAResolver] = {}

    def get_supported_resolvers(self) -> set[str]:
        return {*self.resolvers}

    def register_resolver(self, resolver_name: str, resolver: LoRAResolver) -> None:
        self.resolvers[resolver_name] = resolver

    def get_resolver(self, resolver_name: str) -> LoRAResolver:
        return self.resolvers[resolver_name]


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Let ``import vllm.lora...`` find these, unless vLLM itself is there."""
    if find_spec("vllm") is not None:
        return
    contents = {
        "vllm": {},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.lora.resolver": {
            "LoRAResolver": LoRAResolver, "LoRAResolverRegistry": Registry()
        },
    }  # fmt: skip
    for name, held in contents.items():
        module = ModuleType(name)
        vars(module).update(held)
        patch.setitem(sys.modules, name, module)
