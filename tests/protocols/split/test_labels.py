"""What the manual warns of: u-shaped, labels are not sent, and yet a server that knows the head can tell them."""

import torch
from split_shapes import federation_of, random_shared, save_family, split_parts

from fedtailor.learning.training import one_by_one
from fedtailor.messages.wires.table import read_table
from fedtailor.protocols.split.client_turn import _batches
from fedtailor.protocols.split.conversations import Conversations
from fedtailor.protocols.split.layout import CLASSES, blank_batch, rows_of, table_of
from fedtailor.protocols.split.side import dropout_draws
from fedtailor.protocols.split.state import Memory
from fedtailor.records import Message

CLIENT = "client-00"


class Heard:
    """A client half whose messages somebody hears, both ways."""

    def __init__(self, half):
        self.half, self.said = half, {}

    def answer(self, message):
        reply = one_by_one(self.half.answer(message))
        for each in (message, reply):
            self.said.setdefault(each.kind, each)  # the first of its kind
        return reply


def told_labels(parts, weights, said):
    """Return the class of each text of a first batch, by the gradient that each class would give; only what the server has is used."""
    protocol, worker = parts.protocol.terms, parts.worker
    lengths, width = said["split-activations"].facts["lengths"], protocol.layout.cut_model.width
    hidden_NH = read_table(protocol.wire, said["split-hidden"].tensors, width, sum(lengths))
    gradient_NH = read_table(protocol.gradient_wire, said["split-loss-gradient"].tensors, width, sum(lengths))
    draws, apart = dropout_draws(worker.seed, 1, CLIENT, 0), []
    worker.model.train()
    for number in range(protocol.classes):
        batch = blank_batch(worker, lengths, labels={CLASSES: torch.full((len(lengths),), number)})
        hidden_BLH = table_of(hidden_NH, lengths, worker.device).requires_grad_()
        loss, counted = protocol.run(protocol.layout.tail, batch, weights, hidden_BLH, draws)
        (loss / counted).backward()
        distance_NH = (rows_of(hidden_BLH.grad, lengths) - gradient_NH).square()
        apart.append([float(rows.sum()) for rows in distance_NH.split(lengths)])
    return torch.tensor(apart).argmin(0).tolist()


def test_a_server_that_knows_the_head_reads_the_labels_from_the_gradients_of_the_loss(tmp_path):
    parts = split_parts(save_family("bert", tmp_path), "bert", wire={"kind": "int8"})
    federation, start = federation_of(parts), random_shared(parts)
    heard = federation._halves[CLIENT] = Heard(federation._halves[CLIENT])
    talks = Conversations(terms=parts.protocol.terms, federation=federation, memory=Memory())
    request = Message(kind="train", tensors=start, facts={"version": 0, "rate_factor": 1.0})
    list(talks.ask(dict.fromkeys(sorted(parts.clients), request)))
    rows = next(_batches(parts.clients[CLIENT], parts.protocol.local.batch_size, 1))
    truth = parts.clients[CLIENT].train.labels_N[rows].tolist()
    assert len(set(truth)) > 1
    weights = {name: start[name] for name in parts.protocol.terms.layout.trained_by("client")}
    assert told_labels(parts, weights, heard.said) == truth
