"""Clients whose model is cut elsewhere than the job's."""

from ..job import Job
from ..records import ClientId


def own_cuts(job: Job) -> dict[ClientId, int]:
    """Return the cuts that `clients.overrides` names; that its clients exist is checked with their ranks.

    Raises:
        SettingError: if the protocol has no cut, or one server part is for all clients.
    """
    found = {client: own.protocol.cut for client, own in sorted(job.clients.overrides.items()) if own.protocol.cut is not None}
    job.protocol.check_cuts(found)
    return found
