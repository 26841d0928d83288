"""How models of texts are loaded, whatever their head: by transformers, from checked files, with a tokenizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from ...chance import stream_seed, torch_draws
from ...errors import BackboneError
from ..build import bounded_build, check_numbers
from ..device import Precision
from ..faults import check_type, config_fault, is_ours
from ..files import read_settings, read_weights
from ..labels import HeadPlan, class_layer, follow
from ..locate import Location
from ..pooling import Pooling
from ..probe import find_padding
from ..quiet import quiet_transformers
from ..tokenizer import load_tokenizer
from ..whole import check_fits, check_numbers_of
from .kind import Files, Loaded


class TextKind(Protocol):
    """A kind of models of texts: how they are loaded stands here, what differs is asked of the kind."""

    name: ClassVar[str]
    title: ClassVar[str]
    causal: ClassVar[bool]
    of_texts: ClassVar[bool] = True
    library: ClassVar[str] = "transformers"
    pipeline: ClassVar[str]
    auto: ClassVar[str]
    mapping: ClassVar[str]  # where transformers lists the models that have such a head
    wanted: ClassVar[str]  # what they are called in a message

    def read(self, folder: Path) -> Files:
        """Return config.json and the weights' headers, checked before anything else reads them."""
        settings, weights = read_settings(folder), read_weights(folder)
        check_type(settings, folder / "config.json")
        check_numbers(settings, folder / "config.json", weights)  # before the tokenizer, which reads the config too
        return Files(settings=settings, weights=weights)

    def load(
        self,
        place: Location,
        files: Files,
        *,
        labels: Sequence[str],
        pooling: Pooling,
        precision: Precision,
        device: torch.device,
        seed: int,
    ) -> Loaded:
        """Return a model with its tokenizer, frozen, in evaluation mode; see `Kind.load`.

        Raises:
            BackboneError: if it cannot be loaded, with the cause.
        """
        tokenizer = load_tokenizer(place.folder)
        try:
            with (
                quiet_transformers(),
                torch_draws(stream_seed(seed, "head")),
                bounded_build(files.settings, place.folder / "config.json", files.weights, labels=len(labels)),
            ):
                model, fresh, note = _build(self, place.folder, files, labels, _form(precision, device))
        except BaseException as fault:  # whatever transformers, safetensors and tokenizers raise; a panic is no Exception
            if is_ours(fault):
                raise
            raise config_fault(fault, place.folder, files.settings, files.weights, kind=self.name, auto=self.auto) from fault
        model = model if precision == "4bit" else model.to(device)
        check_numbers_of(model, place.folder)
        _agree_on_padding(model, tokenizer, place.folder)
        fresh = self.finish(model, place.folder, fresh, pooling)
        model.requires_grad_(False)
        model.eval()
        vars(model)["padding_side"] = find_padding(model, tokenizer, causal=self.causal, what=f"backbone folder {place.folder}")
        # [CLS] and [SEP] of a BERT: a prompt may start as these
        vars(model)["around_a_text"] = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        return Loaded(model=model, processor=tokenizer, fresh=fresh, note=note)

    def plain(self, folder: Path, labels: Sequence[str], changes: Mapping[str, Any]) -> nn.Module:
        """Return the model as transformers loads it; see `load_plain`."""
        import transformers

        more = {**changes, **({"num_labels": len(labels), "ignore_mismatched_sizes": True} if labels else {})}
        model: nn.Module = getattr(transformers, self.auto).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **more
        )
        return model

    def check_head(self, config: Any, folder: Path) -> None:
        """Raise BackboneError if the folder is of a model with a head of no use."""

    def plan(self, config: Any, labels: Sequence[str], folder: Path) -> HeadPlan | None:
        """Return what becomes of the head's rows; None if they stay as they are."""

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return what else the model is loaded with."""

    def finish(self, model: nn.Module, folder: Path, fresh: tuple[str, ...], pooling: Pooling) -> tuple[str, ...]:
        """Check or change what is particular to this kind, and return which of the `fresh` modules are to be trained."""


def _build(
    kind: TextKind, folder: Path, files: Files, labels: Sequence[str], form: dict[str, Any]
) -> tuple[nn.Module, tuple[str, ...], str | None]:
    """Return the model on the CPU, the modules that the folder lacked, and what was done with the head's rows."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    _check_head(kind, config, folder)
    config.return_dict = True  # outputs are read by name
    plan = kind.plan(config, labels, folder)
    if plan:
        _name_classes(config, plan.loads_as)
    model, report = getattr(transformers, kind.auto).from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # a head for other classes is drawn again; all else is refused below
        **kind.settings(folder),
        **form,
    )
    check_fits(model, report, folder, files.settings, causal=kind.causal)
    lacking = sorted(report["missing_keys"])
    mismatched = sorted(entry[0] for entry in report["mismatched_keys"])
    drawn, note = follow(plan, model, lacking=lacking, mismatched=mismatched) if plan else (None, None)
    if plan:
        _name_classes(model.config, labels)
        model.num_labels = len(labels)
        vars(model)["class_layer"] = class_layer(model)[0]  # whose rows tunings match with labels
    fresh = {key.rpartition(".")[0] for key in lacking + mismatched} | ({drawn} if drawn else set())
    return model, tuple(sorted(fresh)), note


def _check_head(kind: TextKind, config: Any, folder: Path) -> None:
    import transformers

    kind.check_head(config, folder)
    if type(config) not in getattr(transformers, kind.mapping):
        raise BackboneError(
            f"{folder / 'config.json'}: model_type is {config.model_type!r}, and transformers has no such model with the head that the task "
            f"needs; name a backbone of one of its {kind.wanted}"
        )


def _form(precision: Precision, device: torch.device) -> dict[str, Any]:
    if precision != "4bit":
        return {"dtype": torch.bfloat16 if precision == "bfloat16" else torch.float32}
    from transformers import BitsAndBytesConfig

    packing = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"dtype": torch.bfloat16, "quantization_config": packing, "device_map": {"": device}}


def _name_classes(config: Any, labels: Sequence[str]) -> None:
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"


def _agree_on_padding(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    inner: Any = model
    inner.config.pad_token_id = tokenizer.pad_token_id  # a decoder with a class head reads the last token that is not this
    if getattr(inner, "generation_config", None) is not None:
        inner.generation_config.pad_token_id = tokenizer.pad_token_id
    rows = inner.get_input_embeddings().weight.shape[0]
    highest = max(tokenizer.get_vocab().values(), default=0)
    if len(tokenizer) > rows or highest >= rows:
        raise BackboneError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, numbered up to {highest}; the model embeds {rows}: they do not belong together, so "
            "get tokenizer and weights of one model"
        )
