"""Trainings as values: who asks for one does not know whether it is carried out at once, or with those of other clients."""

import pytest
import torch

from fedtailor.assembly import assemble
from fedtailor.learning.training import one_by_one, train_locally
from fedtailor.messages import write
from fedtailor.protocols.averaging.messages import Train
from fedtailor.tensors import clone


def halves(job, rows):
    """Return the parts of a job and what answers at each client."""
    parts = assemble(job, given=rows)
    own = {"personalization": parts.job.personalization}
    return parts, {client: parts.protocol.client(parts.clients[client], **own) for client in parts.clients}


def place(worker, weights):
    with torch.no_grad():
        for name, param in worker.params.items():
            param.copy_(weights[name])


def all_at_once(parts, works):
    """Carry out the first trainings of all clients, then the second ones, as an engine that trains several at once does."""
    done, sent = {}, dict.fromkeys(works)
    while works:
        asked = {}
        for client, work in works.items():
            if sent[client] is not None:
                place(parts.worker, sent[client][1])
            try:
                training = next(work) if sent[client] is None else work.send(sent[client][0])
                asked[client] = (training, clone(parts.worker.params))
            except StopIteration as end:
                done[client] = end.value
        for client, (training, weights) in asked.items():
            place(parts.worker, weights)
            sent[client] = (train_locally(training), clone(parts.worker.params))
        works = {client: works[client] for client in asked}
    return done


@pytest.mark.parametrize("kind", ["none", "ditto"])
def test_clients_may_train_at_once_to_the_same_bits(make_job, rows, kind):
    job = make_job(personalization={"kind": kind}, protocol__local__steps=2)
    found = []
    for engine in (all_at_once, lambda parts, works: {client: one_by_one(work) for client, work in works.items()}):
        parts, answering = halves(job, rows)
        request = write(Train(version=0, rate_factor=1.0, shared=parts.worker.tensors()))
        found.append(engine(parts, {client: half.answer(request) for client, half in answering.items()}))
    together, apart = found
    assert together.keys() == apart.keys()
    for client, message in apart.items():
        assert all(torch.equal(value, together[client].tensors[name]) for name, value in message.tensors.items())
        assert message.facts["last_loss"] == together[client].facts["last_loss"]


def test_work_that_asks_for_nothing_is_its_own_result():
    assert one_by_one("done") == "done"
