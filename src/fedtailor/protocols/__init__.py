"""What server and clients say to each other."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from .averaging import Averaging, AveragingRun, averaging_run
from .bench import Bench
from .distillation import Distillation, DistillationRun, distillation_run
from .prompting import METHODS, Method, Prompting, PromptingRun, prompting_run
from .retrieval import Retrieval, RetrievalRun, retrieval_run
from .split import WIRES, Split, SplitRun, Wire, split_run

Settings: TypeAlias = Averaging | Distillation | Split | Prompting | Retrieval
Ready: TypeAlias = (
    AveragingRun | DistillationRun | SplitRun | PromptingRun | RetrievalRun
)  # a protocol with all that it needs besides its settings

PROTOCOLS: Mapping[str, type[Settings]] = {
    "averaging": Averaging,
    "distillation": Distillation,
    "split": Split,
    "prompting": Prompting,
    "retrieval": Retrieval,
}
MAKERS: Mapping[str, Callable[[Any, Bench], Ready]] = {
    "averaging": averaging_run,
    "distillation": distillation_run,
    "split": split_run,
    "prompting": prompting_run,
    "retrieval": retrieval_run,
}


def ready_protocol(settings: Settings, bench: Bench) -> Ready:
    """Return a protocol with all that it needs besides its settings; what somebody should know before a run is said.

    Raises:
        SettingError: if it does not go with the task or the model.
    """
    return MAKERS[settings.kind](settings, bench)


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
