"""The environment of the processes that a kit starts: what they need, no secrets of the user's shell, and no modules from the kit."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import FedtailorError
from ...yaml_text import read_yaml_file

NAMES = (
    "PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR LD_LIBRARY_PATH VIRTUAL_ENV SSL_CERT_FILE SSL_CERT_DIR PYTHONHASHSEED".split()
)
KEPT = re.compile(  # settings of the libraries that compute, the hub's cache, our own, and the proxies through which an endpoint is reached
    r"(LC|CUDA|NVIDIA|NVFLARE|NCCL|HIP|ROCR|OMP|MKL|OPENBLAS|CUBLAS|PYTORCH|TORCH|HF|TRANSFORMERS|TOKENIZERS|FEDTAILOR|XDG|MALLOC)_\w+|(https?|no)_proxy"
    r"|(HTTPS?|NO)_PROXY"
)
SECRET = re.compile(r".*(_TOKEN|_TOKEN_PATH|SECRET|PASSWORD|_KEY)")
ENDPOINT = "FEDTAILOR_ENDPOINT"  # names a file that may name one more variable; see `prompting.endpoint`


def clean_environment(kit: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what of an environment a process of this kit gets; no module is imported from its working folder, or from below the kit."""
    key = _endpoint_key(given.get(ENDPOINT, ""))
    kept = {
        name: value
        for name, value in given.items()
        if name in (*NAMES, key) or (KEPT.fullmatch(name) and not SECRET.fullmatch(name))
    }
    places = [place for place in given.get("PYTHONPATH", "").split(os.pathsep) if _is_outside(place, kit)]
    return {**kept, **({"PYTHONPATH": os.pathsep.join(places)} if places else {}), "PYTHONSAFEPATH": "1"}


def _is_outside(place: str, kit: Path) -> bool:
    """Return whether modules may come from here: NVFlare adds the folder of a job's own code, which the server sends."""
    return os.path.isabs(place) and not Path(place).resolve().is_relative_to(kit.resolve())


def _endpoint_key(file: str) -> str:
    """Return the variable that holds the key of this machine's own endpoint; "" if there is none."""
    try:
        found = read_yaml_file(Path(file).expanduser(), "the file of an endpoint") if file else None
    except FedtailorError:  # who asks the endpoint says so
        return ""
    return str(found.get("key", "")) if isinstance(found, Mapping) else ""
