"""Backbones: find, load and pin them."""

from .backbone import Backbone, load_backbone
from .dcgan import Dcgan
from .device import Precision, choose_device, choose_precision
from .embed import embed_texts
from .heads import logits_at
from .info import BackboneInfo, describe_backbone
from .packaged import PACKAGED, add_packaged, install_command
from .plain import copy_tokenizer, load_plain
from .pooling import mean_over_tokens, pool_mean, reads_mean, trained_for_mean
from .unrounded import unround

__all__ = [
    "PACKAGED",
    "Backbone",
    "BackboneInfo",
    "Dcgan",
    "Precision",
    "add_packaged",
    "choose_device",
    "choose_precision",
    "copy_tokenizer",
    "describe_backbone",
    "embed_texts",
    "install_command",
    "load_backbone",
    "load_plain",
    "logits_at",
    "mean_over_tokens",
    "pool_mean",
    "reads_mean",
    "trained_for_mean",
    "unround",
]
