"""Which modules of a model low-rank factors go beside."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from ...errors import SettingError

# what families of models call the projections to query and value, apart or in one; the first that all are there is taken
ATTENTION = (
    ("q_proj", "v_proj"),  # Llama, Mistral, Qwen, Gemma, SmolLM, OPT, BART, ...
    ("query", "value"),  # BERT, RoBERTa, ELECTRA
    ("query_proj", "value_proj"),  # DeBERTa-v2
    ("q_lin", "v_lin"),  # DistilBERT
    ("c_attn",),  # GPT-2
    ("query_key_value",),  # GPT-NeoX, BLOOM, Falcon
    ("qkv_proj",),  # Phi-3
    ("Wqkv",),  # MPT, ModernBERT
    ("q", "v"),  # T5
)


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """Where low-rank factors go in a family of models that make pictures."""

    targets: tuple[str, ...]  # ends of the names of its modules, linear and convolutional
    rows: tuple[
        str, ...
    ]  # of what is trained whole: the tables with a row for each label, of which a new one knows nothing; the discriminator of a GAN


GAN = "Dcgan"
DENOISERS: Mapping[str, Denoiser] = {
    "UNet2DModel": Denoiser(
        targets=("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_shortcut", "time_emb_proj"),
        rows=("class_embedding",),
    ),
    "DiTTransformer2DModel": Denoiser(
        targets=("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"), rows=("embedding_table",)
    ),
    GAN: Denoiser(
        targets=("generator.linear", *(f"generator.conv{step}" for step in range(1, 9)), "generator.conv_out"),
        rows=("discriminator",),
    ),
}


def usual_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the ends of the names of the modules that low-rank factors usually go beside.

    Raises:
        SettingError: if the model is of no known family.
    """
    family = DENOISERS.get(type(model).__name__)
    return attention_targets(model) if family is None else _there(model, family.targets)


def label_rows(model: nn.Module) -> tuple[str, ...]:
    """Return the ends of the names of a denoiser's tables of labels; none of any other model."""
    family = DENOISERS.get(type(model).__name__)
    return () if family is None else _there(model, family.rows)


def is_denoiser(model: nn.Module) -> bool:
    """Return whether a model (not one that PEFT has wrapped) makes pictures."""
    return type(model).__name__ in DENOISERS


def _there(model: nn.Module, ends: Sequence[str]) -> tuple[str, ...]:
    names = [name for name, _ in model.named_modules()]
    return tuple(end for end in ends if any(name == end or name.endswith(f".{end}") for name in names))


def attention_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the last parts of the names of the query and value projections, or of the one that holds them.

    Raises:
        SettingError: if the model is of no known family.
    """
    names = linear_names(model)
    for wanted in ATTENTION:
        if set(wanted) <= names:
            return wanted
    raise SettingError(
        f"targets cannot be found by architecture in a {type(model).__name__}; name some of its linear modules: "
        f"{', '.join(sorted(names)[:12]) or 'it has none'}"
    )


def check_targets(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Return the targets as a list after checking that each fits the name of a linear or convolutional module.

    Raises:
        SettingError: naming the target, and the nearest name that is there.
    """
    full = {name for name, module in model.named_modules() if _is_linear(module)}
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in full):
            names = linear_names(model)
            near = difflib.get_close_matches(target, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            kind = " or convolutional" if is_denoiser(model) else ""
            raise SettingError(
                f"targets names {target!r}, but a {type(model).__name__} has no such linear{kind} module; {hint}"
                f"it has {', '.join(sorted(names)[:12])}"
            )
    return list(targets)


def all_linear(model: nn.Module) -> list[str] | str:
    """Return what PEFT takes for all linear modules but the output head; it knows the head of models of texts alone."""
    if not is_denoiser(model):
        return "all-linear"
    whole = tuple(f"{end}." for end in label_rows(model))  # trained whole, so nothing goes beside their parts
    return sorted(name for name, module in model.named_modules() if isinstance(module, nn.Linear) and not name.startswith(whole))


def linear_names(model: nn.Module) -> set[str]:
    """Return the last parts of the names of all linear modules but the output head."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if _is_linear(m) and m is not head}


def _is_linear(module: nn.Module) -> bool:
    # GPT-2's Conv1D is a transposed linear layer; bitsandbytes' layers are subclasses of nn.Linear
    return isinstance(module, nn.Linear | nn.Conv2d) or type(module).__name__ == "Conv1D"
