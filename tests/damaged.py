"""Folders of tiny backbones of several families, and seeded ways to damage them."""

import gzip
import json
import math
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import save_tiny

SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def llama(ids: dict[str, Any]) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**ids, **SHAPE, num_key_value_heads=1, max_position_embeddings=256))


def gpt2(ids: dict[str, Any]) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**ids, n_embd=16, n_layer=2, n_head=2, n_positions=256))


def bert(ids: dict[str, Any]) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig(**ids, **SHAPE, max_position_embeddings=256, num_labels=2))


def t5(ids: dict[str, Any]) -> Any:
    from transformers import T5Config, T5ForSequenceClassification

    config = T5Config(**ids, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, num_labels=2, decoder_start_token_id=0)
    return T5ForSequenceClassification(config)


def mixtral(ids: dict[str, Any]) -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(**ids, **SHAPE, num_key_value_heads=1, num_local_experts=2, max_position_embeddings=256)
    return MixtralForCausalLM(config)


FAMILIES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "llama": (llama, "causal"),
    "gpt2": (gpt2, "causal"),
    "mixtral": (mixtral, "causal"),
    "bert": (bert, "classifier"),
    "t5": (t5, "classifier"),
}


def save_family(name: str, folder: Path) -> Path:
    """Save a tiny model of a family; mixtral in shards with an index, T5 with a tokenizer that ends texts."""
    make, _ = FAMILIES[name]
    save_tiny(folder, make)
    if name == "mixtral":
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        shards = {f"model-0000{n + 1}-of-00002.safetensors": list(tensors)[n::2] for n in range(2)}
        for file, names in shards.items():
            save_file({tensor: tensors[tensor] for tensor in names}, folder / file, metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": {tensor: file for file, names in shards.items() for tensor in names}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    if name == "t5":
        path = folder / "tokenizer.json"
        told = json.loads(path.read_text())
        end = next(token["id"] for token in told["added_tokens"] if token["content"] == "<|im_end|>")
        sequence = {"Sequence": {"id": "A", "type_id": 0}}
        told["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [sequence, {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}],
            "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|im_end|>": {"id": "<|im_end|>", "ids": [end], "tokens": ["<|im_end|>"]}},
        }
        path.write_text(json.dumps(told))
    return folder


def save_gguf(path: Path, **changed: Any) -> Path:
    """Write a GGUF file with a tiny Llama and a tokenizer of bytes; `changed` has other values for entries of its header, None for none."""
    import gguf
    import numpy as np

    draw = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(40)
    tokens = ["<|endoftext|>", "<s>", "</s>", *(chr(97 + n) for n in range(26)), *(f"a{chr(97 + n)}" for n in range(11))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * 37])
    writer.add_token_merges([f"a {chr(97 + n)}" for n in range(11)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key, value in changed.items():
        if value is None:
            del writer.kv_data[0][key]
        else:
            writer.kv_data[0][key].value = value
    shapes = {"token_embd": (40, 32), "output_norm": (32,), "output": (40, 32)}
    for name, shape in {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}.items():
        shapes[f"blk.0.{name}"] = shape
    for name, shape in {
        "ffn_gate": (32, 32),
        "ffn_up": (32, 32),
        "ffn_down": (32, 32),
        "attn_norm": (32,),
        "ffn_norm": (32,),
    }.items():
        shapes[f"blk.0.{name}"] = shape
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


GGUF_ODD: dict[str, tuple[Any, ...]] = {  # by entry of the header
    **dict.fromkeys(
        [
            f"llama.{name}"
            for name in "block_count context_length embedding_length feed_forward_length attention.head_count attention.head_count_kv "
            "vocab_size".split()
        ],
        (None, 0, 1, 3, 7, 41, 2**20, 2**31, 2**32 - 1),
    ),
    **dict.fromkeys(
        ("llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"), (None, 0.0, -1.0, math.nan, math.inf, 1e38)
    ),
    "general.architecture": ("", "abc", "x" * 3000, "clip", "bert", "gemma", "whisper"),
    "tokenizer.ggml.model": (None, "", "llama", "t5", "bert", "abc", "\0"),
    "tokenizer.ggml.pre": (None, "", "llama-bpe", "abc"),
    "tokenizer.ggml.tokens": (None, ["a"], ["a"] * 40, ["\0"] * 40, [""] * 40, [str(n) for n in range(400)]),
    "tokenizer.ggml.token_type": (None, [3], [9] * 40, [4] * 40, [-1] * 400),
    "tokenizer.ggml.merges": (None, ["a"], ["a b c"] * 9, ["no such"], [" "] * 5, ["a z"] * 5000),
    "tokenizer.ggml.bos_token_id": (None, 0, 40, 2**31, 2**32 - 1),
    "tokenizer.ggml.eos_token_id": (None, 0, 40, 2**31, 2**32 - 1),
}


def damage_gguf(path: Path, whole: bytes, draw: random.Random) -> str:
    """Write a damaged GGUF file, and return how."""
    how = draw.choice(["entry", "entry", "entry", "number", "number", "flip", "cut", "text", "bytes", "place"])
    if how == "entry":
        key = draw.choice(sorted(GGUF_ODD))
        value = draw.choice(GGUF_ODD[key])
        save_gguf(path, **{key: value})
        return f"{key} is {value!r:.60}"
    content, header = bytearray(whole), whole.index(b"token_embd")
    if how == "number":
        begin, form = draw.randrange(4, header + 900), draw.choice(["<I", "<Q"])
        content[begin : begin + struct.calcsize(form)] = struct.pack(form, draw.choice([0, 1, 9, 13, 2**16, 2**31, 2**32 - 1]))
        how = f"another number at {begin}"
    if how == "flip":
        for _ in range(draw.choice([1, 3, 30])):
            content[draw.randrange(4, draw.choice([header, header + 900, len(content)]))] = draw.randrange(256)
    if how == "cut":
        content = content[: draw.randrange(4, len(content))]
    if how == "text":
        word = draw.choice(
            [b"llama.block_count", b"tokenizer.ggml.tokens", b"blk.0.attn_q.weight", b"output_norm", b"general.architecture"]
        )
        how = f"{word.decode()} is called otherwise"
        content = content.replace(word, word[:-2] + bytes(draw.choices(b"ABC\0\xff", k=2)))
    path.write_bytes(content)
    return {"bytes": _bytes, "place": _place}[how](path, draw) if how in ("bytes", "place") else how


def save_pieces(folder: Path) -> Path:
    """Save a tiny Llama whose tokenizer is a sentencepiece model alone: BPE with a fallback to bytes, of 300 pieces."""
    from transformers.convert_slow_tokenizer import import_protobuf  # sentencepiece's own form where that is installed

    save_family("llama", folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    model = import_protobuf().ModelProto()
    words = ["▁", *map(chr, range(97, 123)), *(f"▁{chr(97 + n)}" for n in range(14))]
    for piece, kind in [
        ("<unk>", 2),
        ("<s>", 3),
        ("</s>", 3),
        *((f"<0x{n:02X}>", 6) for n in range(256)),
        *((word, 1) for word in words),
    ]:
        model.pieces.add(piece=piece, score=-len(model.pieces), type=kind)
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id, model.trainer_spec.pad_id = 0, 1, 2, -1
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"})
    )
    return folder


def damage_pieces(folder: Path, draw: random.Random) -> str:
    """Damage a tokenizer that is a sentencepiece model: its bytes, one of its fields, or what the settings beside it say."""
    from transformers.convert_slow_tokenizer import import_protobuf  # sentencepiece's own form where that is installed

    path, how = folder / "tokenizer.model", draw.choice(["bytes", "place", "settings", "field", "field", "text"])
    if how == "settings":
        return _value(folder / "tokenizer_config.json", draw)
    if how in ("bytes", "place"):
        return {"bytes": _bytes, "place": _place}[how](path, draw)
    if how == "text":
        path.write_bytes(
            draw.choice([b"", b"YQ== 0\nYg== 1\n", b"<html>not found", b"version https://git-lfs.github.com/spec/v1\n"])
        )
        return "another text"
    model = import_protobuf().ModelProto()
    model.ParseFromString(path.read_bytes())
    piece, how = (
        draw.choice(model.pieces),
        draw.choice(["gone", "few", "twice", "type", "score", "empty", "unknown", "model_type", "charsmap"]),
    )
    changes: dict[str, Callable[[], Any]] = {
        "gone": lambda: model.pieces.remove(piece),
        "few": lambda: model.pieces.__delitem__(slice(draw.randrange(300), None)),
        "twice": lambda: setattr(piece, "piece", model.pieces[5].piece),
        "type": lambda: setattr(piece, "type", draw.randrange(1, 7)),
        "score": lambda: setattr(piece, "score", draw.choice([math.nan, math.inf, 1e38])),
        "empty": lambda: setattr(piece, "piece", draw.choice(["", "\0", "x" * 3000])),
        "unknown": lambda: setattr(model.trainer_spec, "unk_id", draw.choice([-1, 7, 10**6, 2**31 - 1])),
        "model_type": lambda: setattr(model.trainer_spec, "model_type", draw.choice([1, 3, 4])),
        "charsmap": lambda: setattr(model.normalizer_spec, "precompiled_charsmap", draw.randbytes(40)),
    }
    changes[how]()
    path.write_bytes(model.SerializeToString())
    return f"{how} of {piece.piece!r:.20}"


ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 7, 2**31, 10**9, 10**12, 10**30, 0.5, -0.0, float("inf"), float("nan"), "", "abc", "None", "x" * 3000,
    "\0", "\ud800", "../../etc/passwd", [], [1, 2], [[1]], ["a", None], {}, {"a": {"b": 1}}, [10**12], "https://example.org/a",
)  # fmt: skip
ADDED: tuple[tuple[str, Any], ...] = (
    ("auto_map", {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model", "AutoTokenizer": ["code.Tok", None]}),
    ("auto_map", "code"),
    ("_attn_implementation", "someone/kernel"),
    ("attn_implementation", "flash_attention_2"),
    ("quantization_config", {"quant_method": "gptq", "bits": 4}),
    ("quantization_config", {"quant_method": "awq"}),
    ("quantization_config", 7),
    ("num_labels", 10**12),
    ("torchscript", True),
    ("return_dict", False),
    ("dtype", "float99"),
    ("torch_dtype", [1]),
    ("rope_scaling", {"type": "yarn", "factor": "many"}),
    ("pruned_heads", {"0": [99]}),
    ("layer_types", ["full_attention"] * 5),
    ("id2label", {"a": 1}),
    ("text_config", {"hidden_size": 10**12}),
    ("is_encoder_decoder", True),
    ("tie_word_embeddings", "perhaps"),
    ("eos_token_id", [10**12]),
    ("model_max_length", -5),
    ("tokenizer_class", "NoSuchTokenizer"),
    ("added_tokens_decoder", {"999999999": {"content": "<x>"}}),
    ("extra_special_tokens", 5),
    ("chat_template", [5, {"name": "default"}]),
    ("chunk_size_feed_forward", 3),
    ("hidden_act", "cosine-of-love"),
    ("problem_type", "riddle"),
    ("tokenizer_file", "/dev/zero"),
    ("truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9}),
    ("padding", {"strategy": {"Fixed": 10**9}, "direction": "Left", "pad_id": 1, "pad_type_id": 0, "pad_token": "a"}),
)


ADDED_PICTURES: tuple[tuple[str, Any], ...] = (  # to the configuration of a model that makes pictures
    ("_class_name", "UNet2DConditionModel"),
    ("_class_name", "DiTTransformer2DModel"),
    ("_class_name", "Dcgan"),
    ("_class_name", "os.system"),
    ("_diffusers_version", "99.0.0"),
    ("auto_map", {"AutoModel": "code.Model"}),
    ("act_fn", "cosine-of-love"),
    ("add_attention", "perhaps"),
    ("attention_head_dim", 0),
    ("attention_head_dim", 10**9),
    ("block_out_channels", [4, -8]),
    ("block_out_channels", [4, 8, 16]),
    ("block_out_channels", [10**9, 10**9]),
    ("class_embed_type", "timestep"),
    ("class_embed_type", "identity"),
    ("discriminator_channels", [4, 8, 16, 32, 64]),
    ("discriminator_channels", [10**9]),
    ("down_block_types", ["NoSuchBlock2D", "DownBlock2D"]),
    ("down_block_types", ["DownBlock2D"]),
    ("downsample_type", "riddle"),
    ("flip_sin_to_cos", [1]),
    ("generator_channels", [8, 4, 2, 1]),
    ("generator_channels", [10**9, 4]),
    ("in_channels", 4),
    ("in_channels", 10**9),
    ("layers_per_block", 10**9),
    ("mid_block_scale_factor", float("nan")),
    ("mid_block_type", "NoSuchBlock2D"),
    ("noise", 10**12),
    ("norm_eps", -1.0),
    ("norm_num_groups", 3),
    ("norm_type", "layer_norm"),
    ("num_attention_heads", 7),
    ("num_class_embeds", 10**12),
    ("num_class_embeds", 3),
    ("num_embeds_ada_norm", 10**12),
    ("num_layers", 10**9),
    ("num_train_timesteps", -1),
    ("out_channels", 6),
    ("patch_size", 3),
    ("patch_size", 10**6),
    ("prediction_type", "riddle"),
    ("prediction_type", "epsilon"),
    ("sample_size", 7),
    ("sample_size", [8, 16]),
    ("sample_size", 10**9),
    ("time_embedding_type", "learned"),
    ("time_embedding_dim", 10**9),
    ("up_block_types", ["UpBlock2D", "AttnDownBlock2D"]),
)


def damage(folder: Path, draw: random.Random) -> str:
    """Damage one file of a folder, and return how."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    path = draw.choice(files)
    ways: list[Callable[[Path, random.Random], str]] = [_bytes, _place]
    if path.suffix == ".json":
        ways += [_value] * 6
    if path.suffix == ".safetensors":
        ways += [_header] * 3
    return f"{path.name}: {draw.choice(ways)(path, draw)}"


def _value(path: Path, draw: random.Random) -> str:
    """Change one value of a JSON file, or take one away, or add one."""
    content = json.loads(path.read_text())
    if isinstance(content, list):  # names of labels
        content[draw.randrange(len(content))] = value = draw.choice(ODD)
        path.write_text(json.dumps(content), encoding="utf-8")
        return f"a name is {value!r:.60}"
    holders = [content]
    for holder in holders[:]:
        holders += [value for value in holder.values() if isinstance(value, dict) and value]
    holder = content if draw.random() < 0.7 else draw.choice(holders)
    key, how = draw.choice(sorted(holder, key=str)), draw.random()
    if how < 0.1:
        holder.pop(key)
        told = f"without {key}"
    elif how < 0.3:
        key, value = draw.choice(ADDED_PICTURES if "_class_name" in content else ADDED)
        holder[key] = value
        told = f"{key} is {value!r:.60}"
    else:
        holder[key] = draw.choice(ODD)
        told = f"{key} is {holder[key]!r:.60}"
    path.write_text(json.dumps(content), encoding="utf-8")
    return told


def _bytes(path: Path, draw: random.Random) -> str:
    content = bytearray(path.read_bytes())
    how = draw.choice(["cut", "flip", "empty", "gzip", "noise", "nested", "zeros", "longer", "utf-16"])
    if how == "cut":
        content = content[: draw.randrange(len(content) + 1)]
    if how == "flip":
        for _ in range(draw.choice([1, 10, 100])):
            content[draw.randrange(len(content))] = draw.randrange(256)
    if how == "empty":
        content = bytearray()
    if how == "gzip":
        content = bytearray(gzip.compress(bytes(1 << 20)))
    if how == "noise":
        content = bytearray(draw.randbytes(2000))
    if how == "nested":
        content = bytearray(b'{"a":' + b"[" * 100_000)
    if how == "zeros":
        content = bytearray(len(content))
    if how == "longer":
        content += bytes(10_000)
    if how == "utf-16":
        content = bytearray("{}".encode("utf-16"))
    path.write_bytes(content)
    return how


def _place(path: Path, draw: random.Random) -> str:
    how = draw.choice(["gone", "pipe", "folder", "device", "zero", "circle", "nowhere", "sparse"])
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    if how == "folder":
        path.mkdir()
    if how in ("device", "zero"):
        path.symlink_to("/dev/null" if how == "device" else "/dev/zero")
    if how == "circle":
        path.symlink_to(path)
    if how == "nowhere":
        path.symlink_to(path.with_name("nowhere"))
    if how == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    return how


def _header(path: Path, draw: random.Random) -> str:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    name = draw.choice(sorted(set(header) - {"__metadata__"}))
    entry = header[name]
    how = draw.choice(
        ["dtype", "shape", "offsets", "renamed", "gone", "nan", "long header", "metadata", "huge", "overlap", "twice"]
    )
    if how == "dtype":
        entry["dtype"] = draw.choice(["F16", "I64", "F64", "COMPLEX", 5, None])
    if how == "shape":
        entry["shape"] = draw.choice([[], [0], [-1], [2**62, 2**62], ["a"], entry["shape"][::-1], None, [len(data)]])
    if how == "offsets":
        entry["data_offsets"] = draw.choice([[0, 0], [5, 3], [0, 2**63], [-4, 4], None, [0], ["a", "b"], [1.5, 2]])
    if how == "renamed":
        header["model.layers.7.what"] = header.pop(name)
    if how == "gone":
        header.pop(name)
    if how == "nan":
        begin, end = entry["data_offsets"]
        data[begin:end] = struct.pack("<f", float(draw.choice(["nan", "inf", "-inf"]))) * ((end - begin) // 4)
    if how == "metadata":
        header["__metadata__"] = draw.choice([{"format": "tf"}, {}, {"format": 5}, None, []])
    if how == "huge":
        header[name]["shape"], header[name]["data_offsets"] = [10**12], [0, 4 * 10**12]
    if how == "overlap":
        other = draw.choice(sorted(set(header) - {"__metadata__", name}))
        entry["data_offsets"] = header[other]["data_offsets"]
    written = json.dumps(header).encode()
    if how == "twice":
        written = written[:-1] + b"," + written[1:]
    size = 2**60 if how == "long header" else len(written)
    path.write_bytes(struct.pack("<Q", size) + written + data)
    return f"{how} of {name}"
