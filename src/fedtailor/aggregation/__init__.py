"""How updates become one step."""

from collections.abc import Mapping

from .adaptive import FedAdagrad, FedAdam, FedYogi
from .fedavg import FedAvg
from .fedavgm import FedAvgM
from .fedex_lora import FedExLora
from .fedrot_lora import FedRotLora
from .fedsvd import FedSvd
from .ffa_lora import FfaLora
from .flexlora import FlexLora
from .flora import Flora
from .lora_fair import LoraFair
from .mean import weighted_mean
from .raflora import RaFlora
from .robust import ROBUST, GeometricMedian, Krum, Median, MultiKrum, NormClip, TrimmedMean
from .robust.bucketing import Bucketing
from .rolora import RoLora
from .running_mean import RunningMean
from .scaffold import Scaffold

AGGREGATIONS: Mapping[str, type] = {
    "fedavg": FedAvg,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "fedadagrad": FedAdagrad,
    "scaffold": Scaffold,
    "ffa-lora": FfaLora,
    "rolora": RoLora,
    "lora-fair": LoraFair,
    "fedrot-lora": FedRotLora,
    "fedsvd": FedSvd,
    "flexlora": FlexLora,
    "raflora": RaFlora,
    "flora": Flora,
    "fedex-lora": FedExLora,
    **ROBUST,
    "bucketing": Bucketing,
}

__all__ = [
    "AGGREGATIONS",
    "ROBUST",
    "Bucketing",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedExLora",
    "FedRotLora",
    "FedSvd",
    "FedYogi",
    "FfaLora",
    "FlexLora",
    "Flora",
    "GeometricMedian",
    "Krum",
    "LoraFair",
    "Median",
    "MultiKrum",
    "NormClip",
    "RaFlora",
    "RoLora",
    "RunningMean",
    "Scaffold",
    "TrimmedMean",
    "weighted_mean",
]
