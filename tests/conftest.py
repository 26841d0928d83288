"""Tiny random models with a real tokenizer, saved as folders, so that unit tests need no download and end in seconds."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: workers that run beside each other share the processors

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import make_job, rows  # noqa: F401  fixtures

SENTENCES = (
    "The Eagle is a cheap coffee shop near the river.",
    "name[The Eagle], food[French], price[less than £20]",
    "def mean(values, axis=None): Return the mean of all values along an axis.",
    "How do I activate my new card? My transfer has not arrived yet.",
    "Return a copy of the array; raise an error if the name is not known.",
    "We fit one model to the data of many, and nobody shows its data to anyone.",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(vocabulary: int = 300) -> Any:
    """Return a byte-level BPE tokenizer: 256 bytes, 4 special tokens and the commonest pairs; it can write any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(SENTENCES * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=256,
    )


def save_tiny(folder: Path, make: Callable[[dict[str, Any]], Any]) -> Path:
    """Save the model that `make` builds, and its tokenizer, without moving the global random state."""
    tokenizer = train_tokenizer()
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make(ids)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a random Llama (width 16, 2 layers, 2 heads, 1 KV head, tied embeddings) and its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(ids: dict[str, Any]) -> Any:
        config = LlamaConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            **ids,
        )
        return LlamaForCausalLM(config)

    return save_tiny(tmp_path_factory.mktemp("tiny") / "tiny-llama", make)


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a random GPT-2 (width 16, 2 layers, 2 heads; its layers are Conv1D) and its tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def make(ids: dict[str, Any]) -> Any:
        return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=256, **ids))

    return save_tiny(tmp_path_factory.mktemp("tiny") / "tiny-gpt2", make)


@pytest.fixture(scope="session")
def tiny_bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a random BERT without a head (width 16, 2 layers, 2 heads), to be made a classifier."""
    from transformers import BertConfig, BertModel

    def make(ids: dict[str, Any]) -> Any:
        config = BertConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=256,
            vocab_size=ids["vocab_size"],
            pad_token_id=ids["pad_token_id"],
        )
        return BertModel(config)

    return save_tiny(tmp_path_factory.mktemp("tiny") / "tiny-bert", make)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Group tests that share a fixture of their module, and mark cases that `make test` leaves to `make rest`."""
    for item in items:
        found = [one for each in item._fixtureinfo.name2fixturedefs.values() for one in each]
        if any(one.scope == "module" for one in found) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))  # else each worker makes it for itself
    for cases in _tables(items):
        count = cases[0].get_closest_marker("few").args[0]
        kept = {i * len(cases) // count for i in range(count)}
        for i, item in enumerate(cases):
            if i not in kept:
                item.add_marker(pytest.mark.rest)


def _tables(items: list[Any]) -> list[list[Any]]:
    """Return the cases of each test that is marked `few`, less those that other markers keep out of `make test` already."""
    found: dict[str, list[Any]] = {}
    for item in items:
        if item.get_closest_marker("few") and not any(item.get_closest_marker(name) for name in ("network", "attack", "large")):
            found.setdefault(item.nodeid.split("[")[0], []).append(item)
    return list(found.values())


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: packed ones hold the second they were made in, and workers must collect the same names."""
    return argname if isinstance(val, bytes) else None
