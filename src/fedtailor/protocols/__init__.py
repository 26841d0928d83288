"""What server and clients say to each other."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from .averaging import Averaging, AveragingRun, averaging_run
from .bench import Bench
from .distillation import Distillation, DistillationRun, distillation_run
from .prompting import METHODS, Method, Prompting, PromptingRun, prompting_run
from .retrieval import Retrieval, RetrievalRun, retrieval_run
from .split import WIRES, Split, SplitRun, Wire, split_run
from .usual import UsualRun
from .usual_settings import UsualSettings

Settings: TypeAlias = UsualSettings
Ready: TypeAlias = UsualRun  # a protocol with all that it needs besides its settings

MAKERS: Mapping[type[Settings], Callable[[Any, Bench], Ready]] = {
    Averaging: averaging_run,
    Distillation: distillation_run,
    Split: split_run,
    Prompting: prompting_run,
    Retrieval: retrieval_run,
}
PROTOCOLS: Mapping[str, type[Settings]] = {each.kind: each for each in MAKERS}


def ready_protocol(settings: Settings, bench: Bench) -> Ready:
    """Return a protocol with all that it needs besides its settings; what somebody should know before a run is said.

    Raises:
        SettingError: if it does not go with the task or the model.
    """
    return MAKERS[type(settings)](settings, bench)


__all__ = [
    "METHODS",
    "PROTOCOLS",
    "WIRES",
    "Averaging",
    "AveragingRun",
    "Bench",
    "Distillation",
    "DistillationRun",
    "Method",
    "Prompting",
    "PromptingRun",
    "Ready",
    "Retrieval",
    "RetrievalRun",
    "Settings",
    "Split",
    "SplitRun",
    "Wire",
    "ready_protocol",
]
