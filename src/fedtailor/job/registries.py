"""Every kind of technique that a job names, and how its settings are read."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from ..aggregation import AGGREGATIONS, ROBUST
from ..aggregation.logits import LOGIT_AGGREGATIONS, LogitAggregation
from ..data import PARTITIONS
from ..data.partition import Partition
from ..errors import SettingError
from ..interfaces import Aggregation, NamedTask, Phase, Protection, RobustRule, Tuning
from ..learning.private import DpSgd
from ..metrics import OwnMetric
from ..metrics.cifar import CifarFeatures
from ..metrics.features import Features, NoFeatures
from ..personalization import PERSONALIZATIONS, Personalization
from ..phases import PHASES
from ..protection import PROTECTIONS
from ..protocols import METHODS, PROTOCOLS, WIRES, Method, Settings, Wire
from ..tasks import TASKS
from ..tuning import TUNINGS, UNTRAINED
from .faults import explain
from .own_classes import fedtailors_classes_alone
from .readers import Readers, Registry

TASK = Registry(what="task", classes=TASKS, promise=NamedTask)
TUNING = Registry(what="tuning", classes={**TUNINGS, **UNTRAINED}, promise=Tuning)
PROTOCOL = Registry(what="protocol", classes=PROTOCOLS)
PERSONALIZATION = Registry(what="personalization", classes=PERSONALIZATIONS, promise=Personalization)
PROTECTION = Registry(what="protection", classes=PROTECTIONS, promise=Protection)
PHASE = Registry(what="phase", classes=PHASES, promise=Phase)
PARTITION = Registry(what="partition", classes=PARTITIONS, promise=Partition)
AGGREGATION = Registry(what="aggregation", classes=AGGREGATIONS, promise=Aggregation)
ROBUST_RULE = Registry(what="robust rule of aggregation", classes=ROBUST, promise=RobustRule)
LOGIT_AGGREGATION = Registry(what="aggregation of logits", classes=LOGIT_AGGREGATIONS, promise=LogitAggregation)
METHOD = Registry(what="method of prompting", classes=METHODS, promise=Method)
WIRE = Registry(what="wire", classes=WIRES, promise=Wire)
PRIVACY = Registry(what="privacy of local training", classes={"dp-sgd": DpSgd})
METRIC = Registry(what="metric", classes={}, promise=str | OwnMetric, names=True)
FEATURES = Registry(what="features", classes={"none": NoFeatures, "cifar": CifarFeatures}, promise=Features)
READERS = Readers(
    (
        TASK,
        TUNING,
        PROTOCOL,
        PERSONALIZATION,
        PROTECTION,
        PHASE,
        PARTITION,
        AGGREGATION,
        ROBUST_RULE,
        LOGIT_AGGREGATION,
        METHOD,
        WIRE,
        PRIVACY,
        METRIC,
        FEATURES,
    )
)


def read_protocol(section: Mapping[str, object]) -> Settings:
    """Return the settings of a protocol as a job from elsewhere has them; no class of somebody's own is imported.

    Raises:
        SettingError: if they are none.
    """
    try:
        with fedtailors_classes_alone():
            return _protocol().validate_python(section)
    except ValidationError as error:
        raise SettingError(explain(error.errors(), section, [])) from None


@cache
def _protocol() -> TypeAdapter[Settings]:
    return TypeAdapter(READERS.technique(PROTOCOL))
