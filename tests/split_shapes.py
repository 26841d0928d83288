"""Tiny models of three families with four blocks and dropout, and the parts of a split run on them."""

from pathlib import Path
from typing import Any

import torch
from conftest import save_tiny
from jobs import tiny_job, tiny_rows

from fedtailor.assembly import Parts, assemble
from fedtailor.federation import LocalFederation
from fedtailor.protection import Gate

BLOCKS = 4
FAMILIES = ("gpt2", "llama", "bert")


def save_family(family: str, folder: Path) -> Path:
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}

    def make(ids: dict[str, Any]) -> Any:
        if family == "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=BLOCKS, n_head=2, n_positions=256, **ids))
        if family == "llama":
            return LlamaForCausalLM(
                LlamaConfig(**shape, num_key_value_heads=1, attention_dropout=0.1, tie_word_embeddings=True, **ids)
            )
        return BertModel(BertConfig(**shape, vocab_size=ids["vocab_size"], pad_token_id=ids["pad_token_id"]))

    return save_tiny(folder / family, make)


def class_rows() -> list[dict[str, str]]:
    return [{"text": row["target"], "label": row["food"]} for row in tiny_rows()]


def split_job(backbone: Path, family: str, *, changes: Any = None, **protocol: Any) -> Any:
    """Return a split job of three clients; `protocol` are its settings, `changes` other settings of the job."""
    local = {
        "learning_rate": 0.5,
        "batch_size": 4,
        "optimizer": "sgd",
        "clip_norm": None,
        "steps": 2,
        **protocol.pop("local", {}),
    }
    task = (
        {"task": {"kind": "classification", "max_tokens": 48}}
        if family == "bert"
        else {"task": {"kind": "generation", "max_tokens": 64}}
    )
    return tiny_job(
        backbone,
        **{
            **task,
            "clients__count": 3,
            "protocol": {"kind": "split", "cut": 2, "local": local, **protocol},
            **(changes or {}),
        },
    )


def split_parts(backbone: Path, family: str, **settings: Any) -> Parts:
    rows = class_rows() if family == "bert" else tiny_rows()
    return assemble(split_job(backbone, family, **settings), given=rows)


def random_shared(parts: Parts) -> dict[str, torch.Tensor]:
    """Return trained weights without zeros, so that every gradient is something."""
    draw = torch.Generator().manual_seed(1)
    return {name: torch.randn(value.shape, generator=draw) * 0.2 for name, value in parts.worker.tensors().items()}


def federation_of(parts: Parts, faults: list[Any] | None = None, gate: Gate | None = None) -> LocalFederation:
    halves = {client: parts.protocol.client(own) for client, own in parts.clients.items()}
    told = [] if faults is None else faults
    return LocalFederation(
        halves, parts.sampler.clients, gate or Gate(manifest=parts.manifest), lambda client, fault: told.append((client, fault))
    )
