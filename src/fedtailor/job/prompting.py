"""What goes with protocol: prompting, where no weight is trained."""

from collections.abc import Mapping
from typing import Any

from ..errors import SettingError
from ..personalization import Shared
from ..protocols import Prompting
from ..tasks import LabelLikelihood
from ..tuning import Untrained


def untrained_if_prompting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with `tuning: none` where they prompt and name no tuning."""
    protocol = settings.get("protocol")
    kind = protocol.get("kind") if isinstance(protocol, Mapping) else getattr(protocol, "kind", protocol)
    return {**settings, "tuning": "none"} if kind == "prompting" and "tuning" not in settings else dict(settings)


def check_prompting(task: Any, tuning: Any, protocol: Any, personalization: Any) -> None:
    """Raise SettingError, naming the pair, unless prompting comes with its task and no tuning, and these with no other protocol."""
    untrained, likelihood = isinstance(tuning, Untrained), isinstance(task, LabelLikelihood)
    if not isinstance(protocol, Prompting):
        if untrained or likelihood:
            pair = "tuning: none" if untrained else "task: label-likelihood"
            raise SettingError(
                f"{pair} does not go with protocol: {getattr(protocol, 'kind', '')}, which trains weights; choose protocol: prompting, or "
                + ("tuning: lora." if untrained else "task: classification.")
            )
        return
    if not untrained:
        raise SettingError(
            f"tuning: {getattr(tuning, 'kind', '')} does not go with protocol: prompting, which trains no weight; leave tuning out."
        )
    if not likelihood:
        raise SettingError(
            f"task: {getattr(task, 'kind', '')} does not go with protocol: prompting, which scores labels by their likelihood; write task: "
            "{kind: label-likelihood} and a language model such as backbone: smollm2-135m."
        )
    if not isinstance(personalization, Shared):
        raise SettingError(
            f"personalization: {getattr(personalization, 'kind', '')} does not go with protocol: prompting, which trains no weight; leave it out."
        )
