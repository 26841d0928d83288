"""Clients whose model is cut elsewhere than the job's."""

from ..errors import SettingError
from ..job import Job
from ..protocols import Split
from ..records import ClientId


def own_cuts(job: Job) -> dict[ClientId, int]:
    """Return the cuts that `clients.overrides` names; that its clients exist is checked with their ranks.

    Raises:
        SettingError: if the protocol has no cut, or one server part is for all clients.
    """
    found = {client: own.protocol.cut for client, own in sorted(job.clients.overrides.items()) if own.protocol.cut is not None}
    if not found:
        return {}
    client, cut = next(iter(found.items()))
    if not isinstance(job.protocol, Split):
        kind = job.to_dict()["protocol"]["kind"]
        raise SettingError(
            f"clients.overrides.{client}.protocol.cut is {cut}, and protocol: {kind} cuts no model; choose protocol: split, or leave it out"
        )
    if job.protocol.server == "sequential" and set(found.values()) != {job.protocol.cut}:
        raise SettingError(
            f"clients.overrides.{client}.protocol.cut is {cut}, which does not go with server: sequential, where one server part, with one cut, is "
            "for all; choose server: parallel, or leave the override out"
        )
    return found
