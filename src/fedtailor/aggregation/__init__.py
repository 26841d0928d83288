"""How updates become one step."""

from collections.abc import Mapping

from .fedavg import FedAvg
from .mean import weighted_mean

AGGREGATIONS: Mapping[str, type] = {"fedavg": FedAvg}

__all__ = ["AGGREGATIONS", "FedAvg", "weighted_mean"]
