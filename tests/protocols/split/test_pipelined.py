"""How many exchanges a step takes, and the pipelined form: what its one stale step changes, worked out on the whole model."""

import pandas as pd
import pytest
import torch
from split_shapes import class_rows, federation_of, random_shared, save_family, split_job, split_parts

from fedtailor.assembly import assemble, estimate
from fedtailor.chance import stream, stream_seed
from fedtailor.errors import NotFinite, OffManifest, SettingError
from fedtailor.learning.training import one_by_one
from fedtailor.protocols.split.conversations import Conversations
from fedtailor.protocols.split.cost import exchanges
from fedtailor.protocols.split.planning import Means, Work, cut_costs
from fedtailor.protocols.split.server_turn import ServerTurn
from fedtailor.protocols.split.state import Memory
from fedtailor.records import Message
from fedtailor.running import run
from fedtailor.tasks.shard import training_batches

RATE, STEPS = 10.0, 4  # large: staleness shows in the second order
LOCAL = {"learning_rate": RATE, "steps": STEPS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_family("bert", tmp_path_factory.mktemp("families"))


class Heard:
    """A client whose messages are noted by kind, each with the one that it answers."""

    def __init__(self, half, log):
        self.half, self.log = half, log

    def answer(self, message):
        reply = one_by_one(self.half.answer(message))
        self.log.append(
            (message.kind.removeprefix("split-"), reply.kind.removeprefix("split-"), int(reply.facts.get("step", -1)))
        )
        return reply


def one_round(parts, start, client=None):
    """Return the answer of each client, and what was said with `client`."""
    federation, log = federation_of(parts), []
    if client:
        federation._halves[client] = Heard(federation._halves[client], log)
    talks = Conversations(terms=parts.protocol.terms, federation=federation, memory=Memory())
    request = Message(kind="train", tensors=start, facts={"version": 0, "rate_factor": 1.0})
    replies = {reply.client: reply for reply in talks.ask(dict.fromkeys(sorted(parts.clients), request))}
    assert not federation._waiting
    return replies, log


def test_with_the_server_one_exchange_a_step_u_shaped_two(folder):
    parts = split_parts(folder, "bert", labels="with-server", local=LOCAL | {"steps": 2})
    _, log = one_round(parts, random_shared(parts), "client-00")
    # the next step's activations ride with the answer to the gradient
    assert log == [("begin", "activations", 0), ("gradient", "activations", 1), ("gradient", "end", -1)]
    parts = split_parts(folder, "bert", labels="u-shaped", local=LOCAL | {"steps": 2})
    _, log = one_round(parts, random_shared(parts), "client-00")
    assert log == [
        ("begin", "activations", 0),
        ("hidden", "loss-gradient", 0),
        ("gradient", "activations", 1),
        ("hidden", "loss-gradient", 1),
        ("gradient", "end", -1),
    ]


@pytest.mark.parametrize(
    "settings", [{"labels": "with-server"}, {"labels": "u-shaped"}, {"labels": "with-server", "pipeline": "weight-stashing"}]
)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_cost_model_counts_exchanges_as_they_are(folder, settings, steps):
    parts = split_parts(folder, "bert", **settings, local=LOCAL | {"steps": steps})
    _, log = one_round(parts, random_shared(parts), "client-00")
    assert len(log) == exchanges(parts.protocol.terms, steps)


def stale_steps(parts, start, client):
    """Train the whole model with SGD, where the gradient of step t is that at the client's weights of step t - 1 and the server's of step t."""
    worker, own = parts.worker, parts.clients[client]
    server = set(parts.protocol.terms.layout.trained_by("server"))
    now, before, losses = dict(start), dict(start), []
    draw, batches = stream(worker.seed, "batches", 1, client), []
    while len(batches) < STEPS:
        batches += training_batches(own.train.sizes_N.tolist(), 4, draw)
    worker.model.train()
    for step, rows in enumerate(batches[:STEPS]):
        worker.load({name: (now if name in server else before)[name] for name in start})
        loss, counted = seeded_loss(worker, worker.batch(own.train, rows), step, client)
        grads = torch.autograd.grad(loss / counted, list(worker.params.values()))
        losses.append((loss / counted).item())
        before = dict(now)
        now = {name: now[name] - RATE * grad for name, grad in zip(worker.params, grads, strict=True)}
    return now, losses


def seeded_loss(worker, batch, step, client):
    """Return the whole model's loss, with dropout seeded at each place as across a cut."""

    def seed(place):
        torch.manual_seed(stream_seed(worker.seed, f"split-dropout/{step}/{place}", 1, client))

    blocks = next(m for m in worker.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 4)
    hooks = [b.register_forward_pre_hook(lambda *_, i=i: seed(i + 1)) for i, b in enumerate(blocks)]
    hooks.append(blocks[-1].register_forward_hook(lambda *_: seed(5)))
    try:
        with torch.random.fork_rng():
            seed(0)
            return worker.loss(batch)
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_pipelined_round_is_one_step_stale_at_the_client_alone(folder, cut):
    parts = split_parts(folder, "bert", cut=cut, labels="with-server", pipeline="weight-stashing", local=LOCAL)
    start = random_shared(parts)
    replies, log = one_round(parts, start, "client-01")
    assert log == [
        ("begin", "activations", 0),
        ("ahead", "activations", 1),
        ("gradient", "activations", 2),
        ("gradient", "activations", 3),
        ("gradient", "drained", 3),
        ("gradient", "end", -1),
    ]
    for client, reply in replies.items():
        assert reply.message is not None, reply.error
        weights, losses = stale_steps(parts, start, client)
        facts = reply.message.facts
        assert [facts["first_loss"], facts["last_loss"]] == pytest.approx([losses[0], losses[-1]], abs=1e-6)
        for name, wanted in weights.items():
            torch.testing.assert_close(start[name] + reply.message.tensors[name], wanted, rtol=0, atol=2e-5)
    plain = split_parts(folder, "bert", cut=cut, labels="with-server", local=LOCAL)
    exact, _ = one_round(plain, start)
    gaps = [(exact["client-00"].message.tensors[n] - v).abs().max() for n, v in replies["client-00"].message.tensors.items()]
    assert max(gaps) > 1e-3  # it is another computation


def test_one_step_is_the_exact_one(folder):
    start, found = None, []
    for pipeline in ("none", "weight-stashing"):
        parts = split_parts(folder, "bert", labels="with-server", pipeline=pipeline, local=LOCAL | {"steps": 1})
        start = start or random_shared(parts)
        found.append(one_round(parts, start)[0]["client-02"].message.tensors)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("server", ["parallel", "sequential"])
def test_a_step_that_goes_wrong_ahead_of_time_drops_the_client(folder, server, monkeypatch):
    parts = split_parts(folder, "bert", labels="with-server", pipeline="weight-stashing", server=server, local=LOCAL)
    usual = ServerTurn._forward

    def failing(self, message):
        if self._client == "client-01" and self._step == 1:
            raise NotFinite("the loss became nan")
        return usual(self, message)

    monkeypatch.setattr(ServerTurn, "_forward", failing)
    replies, _ = one_round(parts, random_shared(parts))  # nothing is left waiting
    assert replies["client-01"].error.kind == "not-finite"
    assert replies["client-00"].message is not None
    assert replies["client-02"].message is not None


def test_messages_out_of_turn_are_refused(folder):
    parts = split_parts(folder, "bert", labels="with-server", pipeline="weight-stashing", local=LOCAL)
    federation = federation_of(parts)
    half = federation._halves["client-01"]
    usual = half.answer
    half.answer = lambda message: (
        Message(kind="split-drained", facts={"step": 0}) if message.kind == "split-ahead" else usual(message)
    )
    talks = Conversations(terms=parts.protocol.terms, federation=federation, memory=Memory())
    request = Message(kind="train", tensors=random_shared(parts), facts={"version": 0, "rate_factor": 1.0})
    replies = {reply.client: reply for reply in talks.ask(dict.fromkeys(sorted(parts.clients), request))}
    assert replies["client-01"].error.kind == "off-manifest"
    assert replies["client-00"].message is not None
    begin = Message(
        kind="split-begin",
        tensors={n: v for n, v in random_shared(parts).items() if n in parts.protocol.terms.layout.trained_by("client")},
        facts={"version": 0, "rate_factor": 1.0, "cut": 2},
    )
    client = parts.protocol.client(parts.clients["client-00"])
    ahead = Message(kind="split-ahead", facts={"step": 0})
    one_by_one(client.answer(begin))
    one_by_one(client.answer(ahead))
    with pytest.raises(OffManifest, match="one step ahead"):
        one_by_one(client.answer(ahead))


def test_a_pipelined_run_is_estimated_and_lasts_as_long_as_the_slower_side(folder, tmp_path):
    job = split_job(
        folder,
        "bert",
        labels="with-server",
        pipeline="weight-stashing",
        local={"steps": None, "optimizer": "adamw", "learning_rate": 0.01},
        changes={"stop__rounds": 1},
    )
    parts = assemble(job, given=class_rows())
    result = run(job, data=class_rows(), out=tmp_path / "r")
    rows = pd.read_parquet(result.folder / "clients.parquet").set_index("client")
    for client, cost in estimate(parts).items():
        assert cost.up_bytes == pytest.approx(rows.loc[client, "up_bytes"], rel=0.02)
        assert cost.down_bytes == pytest.approx(rows.loc[client, "down_bytes"], rel=0.02)
    means = Means(client_flops=1e6, server_flops=1e6, bandwidth=1e5)
    each = cut_costs(parts.protocol.terms, Work(examples=10, tokens_per_example=6.0), means)[2]
    assert each.seconds == max(each.client_seconds + each.link_seconds, each.server_seconds)


def test_u_shaped_has_no_pipeline(folder):
    with pytest.raises(SettingError, match="pipeline: weight-stashing goes with one exchange a step"):
        split_parts(folder, "bert", pipeline="weight-stashing")
