"""Small tokenizers of the kinds that real backbones have, trained on a few sentences."""

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "name[The Eagle], food[French]\nThe Eagle is a cheap coffee shop near the river.",
    "def mean(values, axis=None):\n\nReturn the mean of all values. It is so.",
    "a: b c: The the  and\n\n\nnothing => something 12 34 -> -> The",
] * 4
END = "</s>"


def wrap(inner: Tokenizer, **more: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token="<pad>", **more)


def byte_level(*, regex: bool = True, trim: bool = False, marks: bool = False, size: int = 380) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [END, "<pad>", "<s>"]
    inner.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    if marks:
        pair = [("<s>", inner.token_to_id("<s>")), (END, inner.token_to_id(END))]
        inner.post_processor = processors.TemplateProcessing(single=f"<s> $A {END}", pair=f"<s> $A $B {END}", special_tokens=pair)
    return wrap(inner, **({"bos_token": "<s>"} if marks else {}))


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer as of Llama 2: spaces become a letter, every other character falls back to its bytes."""
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if scheme != "never" else []),
        ]
    )
    special = [END, "<pad>", "<s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False))
    return wrap(inner, unk_token="<unk>")


def characters() -> PreTrainedTokenizerFast:
    """Return one token a character; Unicode forms are normalized first, so that one token may stand for two characters."""
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("."), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=[END, "<pad>"], initial_alphabet=alphabet, show_progress=False)
    )
    return wrap(inner)


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {
        "bytes": byte_level(),
        "bytes-across-words": byte_level(regex=False, size=450),  # merges reach over any border, also that of the target
        "bytes-trimmed": byte_level(trim=True),
        "bytes-with-marks": byte_level(marks=True),
        "metaspace-first": metaspace("first"),
        "metaspace-always": metaspace("always"),
        "metaspace-never": metaspace("never"),
        "characters": characters(),
    }
