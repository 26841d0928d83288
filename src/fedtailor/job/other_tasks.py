"""What goes with tasks of texts alone."""

from typing import Any

from ..errors import SettingError
from ..models.kinds import KINDS
from ..personalization import Dual
from ..protocols import Averaging


def check_of_texts(task: Any, protocol: Any, personalization: Any) -> None:
    """Raise SettingError, naming the pair, if the task is none of texts and something else works on tokens or logits."""
    if task.backbone not in KINDS or KINDS[task.backbone].of_texts:
        return
    if not isinstance(protocol, Averaging):
        raise SettingError(
            f"protocol: {protocol.kind} does not go with task: {task.kind}, whose model gives pictures and no logits, and is no row of blocks that could "
            "be cut; choose protocol: averaging."
        )
    if isinstance(personalization, Dual):
        raise SettingError(
            f"personalization: {getattr(personalization, 'kind', '')} does not go with task: {task.kind}: it weighs two adapters by the tokens of a text; choose finetune, "
            "ditto or fedper."
        )
