"""The files of an exported result: weights, the backbone's own tokenizer, and nothing that was changed for training."""

import shutil
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import SettingError
from ..models import copy_tokenizer, reads_mean
from ..tuning import Form, save_whole
from .forms import WHOLE, mean_in_config

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "labels.json", "head.json")


def write_files(model: nn.Module, adapter: Path, backbone: Path, folder: Path, *, to: Form) -> None:
    """Write all but the model card to `folder`.

    Args:
        model: of the run; where a whole model is written, its adapter is joined with its weights.
        adapter: the folder of what was trained.
        backbone: the folder of the backbone.

    Raises:
        SettingError: if an adapter cannot be joined with the weights.
    """
    if to in WHOLE:
        _write_whole(model, folder)
    else:
        for name in ADAPTER_FILES:
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, folder / name)
    copy_tokenizer(backbone, folder)


def _write_whole(model: nn.Module, folder: Path) -> None:
    whole: Any = model
    if hasattr(whole, "merge_and_unload"):
        _untie(whole)
        try:
            whole = whole.merge_and_unload()
        except (AttributeError, NotImplementedError, ValueError, TypeError, RuntimeError, KeyError) as fault:
            raise SettingError(f"to merged: this adapter cannot be joined with the weights ({fault}); try --to peft") from fault
    if reads_mean(whole):
        for name, value in mean_in_config(whole).items():
            setattr(whole.config, name, value)
    save_whole(whole, folder)


def _untie(tuned: Any) -> None:
    """Give the output head weights of its own where they are those of the embeddings, and an adapter is on one of the two.

    Joined with the one, it would change the other too.
    """
    base = tuned.get_base_model()
    if not hasattr(base, "get_output_embeddings"):  # of diffusers
        return
    head, embeddings = (getattr(base, f"get_{side}_embeddings")() for side in ("output", "input"))
    if head is None or embeddings is None or not (_is_tuned(head) or _is_tuned(embeddings)):
        return
    bare_head, bare_embeddings = _bare(head), _bare(embeddings)
    if bare_head.weight is not bare_embeddings.weight:
        return
    bare_head.weight = nn.Parameter(bare_head.weight.detach().clone(), requires_grad=False)
    base.config.tie_word_embeddings = base.config.get_text_config().tie_word_embeddings = False
    base.all_tied_weights_keys = base.get_expanded_tied_weights_keys(all_submodels=True)


def _is_tuned(module: Any) -> bool:
    return hasattr(module, "base_layer") or hasattr(module, "token_adapter")


def _bare(module: Any) -> Any:
    """Return the model's own layer below PEFT's."""
    while hasattr(module, "base_layer"):
        module = module.base_layer
    return module
