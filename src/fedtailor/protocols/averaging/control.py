"""What control variates ask of the rest of averaging."""

from ...errors import SettingError
from ...learning.local import LocalTraining


def check_control(local: LocalTraining, wire: str) -> None:
    """Raise SettingError unless a step of local training is a learning rate times a gradient, and changes travel unrounded."""
    other = {"optimizer": local.optimizer} if local.optimizer != "sgd" else {}
    other |= {name: getattr(local, name) for name in ("momentum", "weight_decay") if getattr(local, name)}
    if other:
        told = ", ".join(f"local.{name}: {value}" for name, value in other.items())
        raise SettingError(
            f"aggregation scaffold does not go with {told}: its control variates are mean gradients only under plain SGD; choose "
            "local: {optimizer: sgd, learning_rate: 0.1}, or keep it and choose aggregation: fedavg with local.proximal: 0.01"
        )
    if wire != "float32":
        raise SettingError(
            f"wire: {wire} does not go with aggregation: scaffold: the server adds up changes of control variates, and rounded ones part "
            "from those that clients keep; set wire: float32, or choose aggregation: fedavg"
        )
