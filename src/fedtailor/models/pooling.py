"""What of a text's last hidden states the head of a classifier reads."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import BackboneError
from ..interfaces import POOLING

# B texts, L positions, H hidden width

Pooling: TypeAlias = Literal["model", "mean"]
"""model: what its own code reads, such as BERT's pooler of the first token; mean: the mean over the text's tokens."""
PLACES = ("input_ids", "inputs_embeds")  # arguments of a body that have as many positions as there are tokens


def pool_mean(model: nn.Module) -> nn.Module:
    """Let the head of a classifier read the mean over a text's tokens of the last hidden states, and return the model.

    Wherever the head would read (BERT's pooler, the first token, a decoder's last one) it finds the mean, padding left out. The weights of
    a pooler that the body has stay and have no influence. Positions that a prompt puts in front count as tokens.

    Source: Reimers and Gurevych, 2019, arXiv:1908.10084, section 3 (MEAN), where sentences are embedded so; a head on top is ours.

    Args:
        model: of transformers, with a head for classes; changed in place, once.

    Raises:
        BackboneError: if its body takes no attention mask or is an encoder-decoder; and by a forward pass whose hidden states are not one a token.
    """
    classifier: Any = model
    body = classifier.base_model
    named = inspect.signature(body.forward)
    if body is model or "attention_mask" not in named.parameters or classifier.config.is_encoder_decoder:
        raise BackboneError(
            f"a {type(model).__name__} cannot read the mean over tokens (task.pooling: mean); leave pooling out, or choose a backbone like "
            "BERT, GPT-2 or Llama"
        )

    def read_mean(body: nn.Module, inputs: tuple[Any, ...], given: Mapping[str, Any], output: Any) -> Any:
        asked, hidden_BLH = named.bind(*inputs, **given).arguments, output.last_hidden_state
        places = next((asked[name] for name in PLACES if asked.get(name) is not None), None)
        if places is not None and places.shape[1] != hidden_BLH.shape[1]:
            raise BackboneError(
                f"a {type(body).__name__} gives {hidden_BLH.shape[1]} hidden states for {places.shape[1]} tokens, so the mean over tokens "
                "(task.pooling: mean) cannot be read; leave pooling out"
            )
        mean_BH = mean_over_tokens(hidden_BLH, asked.get("attention_mask")).to(hidden_BLH.dtype)
        output.last_hidden_state = mean_BH.unsqueeze(1).expand_as(hidden_BLH)
        if output.get("pooler_output") is not None:
            output.pooler_output = mean_BH
        return output

    if not hasattr(body, POOLING):
        vars(body)[POOLING] = "mean"
        setattr(classifier.config, POOLING, "mean")
        body.register_forward_hook(read_mean, with_kwargs=True)
    return model


def reads_mean(model: nn.Module) -> bool:
    """Return whether a model was made to read the mean over tokens, or comes from a folder of one that was."""
    return getattr(getattr(model, "config", None), POOLING, "") == "mean"


def trained_for_mean(folder: Path) -> bool:
    """Return whether a model's folder says, as sentence-transformers writes it, that the mean over tokens stands for a text."""
    try:
        content = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("pooling_mode_mean_tokens") is True


def is_unread(model: nn.Module, module: str) -> bool:
    """Return whether a module, by its name, has no influence where the mean is read: a pooler of the body, not one of the head."""
    classifier: Any = model
    first, *others = module.split(".")
    return first == classifier.base_model_prefix and "pooler" in others


def mean_over_tokens(hidden_BLH: Tensor, mask_BL: Tensor | None) -> Tensor:
    """Return the float32 mean [B, H] over the positions that are no padding.

    Args:
        mask_BL: 1 where a token is, None where there is no padding; it may begin with the positions of a prefix, which have no hidden states.
    """
    mask_BL = torch.ones(hidden_BLH.shape[:2], device=hidden_BLH.device) if mask_BL is None else mask_BL
    weight_BL1 = mask_BL[:, -hidden_BLH.shape[1] :].unsqueeze(-1).float()
    return (hidden_BLH.float() * weight_BL1).sum(1) / weight_BL1.sum(1)
