"""GGUF files become folders of safetensors, once; these load in a second, a GGUF file takes 12 to 20."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from ..causes import UNKNOWN, cause_of, detail_of
from ..errors import BackboneError
from ..user_cache import cache_folder
from .build import bounded_build, check_numbers
from .cache import file_sha256, whole_folder
from .faults import is_ours
from .gguf_file import check_is_gguf, read_gguf
from .quiet import quiet_transformers

FORM = "v1"  # changes when the conversion does
OF_THE_FILE = (UNKNOWN, "damaged", "number", "nesting", "code", "version")  # causes against which another form of the model helps
OF_THE_PLACE = ("disk full", "file too large", "read-only", "permission", "disk fault", "name too long", "missing")


def converted(source: Path) -> Path:
    """Return the cached folder of a GGUF file with model.safetensors, config and tokenizer; convert it if need be.

    Weights are dequantized, then kept in bfloat16 where every matrix in the file is quantized, else in float32.

    Raises:
        BackboneError: if the file is missing or no GGUF that transformers can read.
    """
    if not source.exists():
        raise BackboneError(f"there is no GGUF file {source}")
    check_is_gguf(source)
    try:
        target = cache_folder() / "backbones" / f"{source.stem}-{file_sha256(source)[:12]}-{FORM}"
        if not (target / "config.json").is_file():
            with whole_folder(target) as fresh:
                _convert(source, fresh)
    except OSError as fault:
        raise _fault(source, fault) from fault
    return target


def _fault(source: Path, fault: BaseException) -> BackboneError:
    """Return what a conversion that failed says: what to do against its cause, which may be the file's or the place's that is written to."""
    where = f"{source} could not be converted to safetensors in {cache_folder()}"
    cause = cause_of(fault, where)
    if cause.name in OF_THE_FILE:
        found = f"{where}: transformers does not read it so ({detail_of(fault)})" if cause.name == UNKNOWN else cause.sentence
        return BackboneError(f"{found}; use the model's folder or hub id, or another GGUF file of it")
    return BackboneError(f"{cause}{'; FEDTAILOR_CACHE names another folder to write to' if cause.name in OF_THE_PLACE else ''}")


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    header, weights = read_gguf(source)
    check_numbers(header, source, weights)
    dtype = torch.bfloat16 if _is_quantized(source) else torch.float32
    place: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers(), redirect_stderr(io.StringIO()), bounded_build(header, source, weights):  # its bar is not ours
            tokenizer = AutoTokenizer.from_pretrained(str(source.parent), **place)
            # dequantize: without it the model counts as quantized, and save_pretrained refuses
            model = AutoModelForCausalLM.from_pretrained(
                str(source.parent),
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
                **place,
            )
            model.to(dtype).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except BaseException as fault:  # a panic of tokenizers is no Exception
        if is_ours(fault):
            raise
        raise _fault(source, fault) from fault


def _is_quantized(source: Path) -> bool:
    from gguf import GGMLQuantizationType, GGUFReader

    plain = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}
    try:
        tensors = GGUFReader(source).tensors
    except (ValueError, IndexError, OSError) as fault:
        raise BackboneError(f"{source} cannot be read as GGUF ({fault}); was it downloaded whole?") from fault
    return all(tensor.tensor_type not in plain for tensor in tensors if len(tensor.shape) > 1)
