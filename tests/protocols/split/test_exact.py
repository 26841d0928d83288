"""A split step is the step of the whole model: loss, gradients, weights; dropout on, three clients in flight together."""

import pytest
import torch
from split_shapes import BLOCKS, FAMILIES, class_rows, federation_of, random_shared, save_family, split_job, split_parts

from fedtailor.assembly import assemble
from fedtailor.chance import stream, stream_seed
from fedtailor.protocols.split.conversations import Conversations
from fedtailor.protocols.split.state import Memory
from fedtailor.records import Message
from fedtailor.tasks.shard import training_batches

RATE, STEPS = 0.5, 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("families")
    return {family: save_family(family, home) for family in FAMILIES}


def blocks_of(model):
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == BLOCKS)


def whole_steps(parts, start, client):
    """Train the whole model itself with plain SGD, seeding dropout by hooks; return weights, losses and gradients of the first step."""
    worker, own = parts.worker, parts.clients[client]
    worker.load(start)
    worker.model.train()
    draw, lengths = stream(worker.seed, "batches", 1, client), own.train.sizes_N.tolist()
    batches, losses, first = training_batches(lengths, 4, draw), [], {}
    for step in range(STEPS):
        seed = lambda place, step=step: torch.manual_seed(stream_seed(worker.seed, f"split-dropout/{step}/{place}", 1, client))  # noqa: E731
        blocks = blocks_of(worker.model)
        hooks = [b.register_forward_pre_hook(lambda *_, i=i, seed=seed: (seed(i + 1), None)[1]) for i, b in enumerate(blocks)]
        hooks.append(blocks[-1].register_forward_hook(lambda *_, seed=seed: (seed(BLOCKS + 1), None)[1]))
        with torch.random.fork_rng():
            seed(0)
            loss, counted = worker.loss(worker.batch(own.train, next(batches)))
        for hook in hooks:
            hook.remove()
        grads = torch.autograd.grad(loss / counted, list(worker.params.values()))
        losses.append((loss / counted).item())
        first = first or dict(zip(worker.params, grads, strict=True))
        with torch.no_grad():
            for param, grad in zip(worker.params.values(), grads, strict=True):
                param.sub_(RATE * grad)
    return worker.tensors(), losses, first


def split_round(parts, start):
    talks = Conversations(terms=parts.protocol.terms, federation=federation_of(parts), memory=Memory())
    request = Message(kind="train", tensors=start, facts={"version": 0, "rate_factor": 1.0})
    return {reply.client: reply for reply in talks.ask(dict.fromkeys(sorted(parts.clients), request))}


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.few(6)
@pytest.mark.parametrize("labels", ["u-shaped", "with-server"])
@pytest.mark.parametrize("cut", [1, 2, BLOCKS - 1, BLOCKS])
@pytest.mark.parametrize("family", FAMILIES)
def test_parallel_equals_the_whole_model(folders, family, cut, labels):
    if cut == BLOCKS and labels == "u-shaped":
        pytest.skip("the server would have nothing")
    parts = split_parts(folders[family], family, cut=cut, labels=labels)
    start = random_shared(parts)
    replies = split_round(parts, start)
    assert len(replies) == 3
    for client, reply in replies.items():
        assert reply.message is not None, reply.error
        weights, losses, gradients = whole_steps(parts, start, client)
        facts = reply.message.facts
        assert [facts["first_loss"], facts["last_loss"]] == pytest.approx(losses, abs=1e-6)
        assert any(bool(g.abs().max() > 1e-4) for g in gradients.values())
        assert_equal({name: start[name] + delta for name, delta in reply.message.tensors.items()}, weights)


@pytest.mark.parametrize("labels", ["u-shaped", "with-server"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_one_step_equal_the_whole_models(folders, family, labels):
    parts = split_parts(folders[family], family, labels=labels, local={"learning_rate": 1.0, "steps": 1})
    start = random_shared(parts)
    for client, reply in split_round(parts, start).items():
        *_, gradients = whole_steps(parts, start, client)
        assert_equal(reply.message.tensors, {name: -value for name, value in gradients.items()})


@pytest.mark.parametrize("labels", ["u-shaped", "with-server"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sequential_learns_in_the_drawn_order(folders, family, labels):
    parts = split_parts(folders[family], family, labels=labels, server="sequential")
    start = random_shared(parts)
    replies = split_round(parts, start)
    server = set(parts.protocol.terms.layout.trained_by("server"))
    now = dict(start)
    for client in stream(parts.worker.seed, "split-order", 1).permutation(sorted(replies)).tolist():
        weights, losses, _ = whole_steps(parts, now, client)
        own = {name: start[name] + delta for name, delta in replies[client].message.tensors.items() if name not in server}
        assert_equal(own, {name: value for name, value in weights.items() if name not in server})
        assert replies[client].message.facts["last_loss"] == pytest.approx(losses[-1], abs=1e-6)
        now = {name: weights[name] if name in server else start[name] for name in start}
    for reply in replies.values():
        assert_equal({name: start[name] + reply.message.tensors[name] for name in server}, {name: now[name] for name in server})


@pytest.mark.parametrize("labels", ["u-shaped", "with-server"])
@pytest.mark.parametrize(("family", "pooling"), [("gpt2", "model"), ("llama", "model"), ("llama", "mean"), ("bert", "mean")])
def test_heads_that_look_for_tokens_are_cut_the_same_way(folders, family, pooling, labels):
    # for the last one that is no padding, among tokens that the server does not have, or for the mean over all that are none
    task = {"task": {"kind": "classification", "max_tokens": 48, "pooling": pooling}}
    parts = assemble(split_job(folders[family], family, labels=labels, changes=task), given=class_rows())
    assert len({len(text) for text in (row["text"] for row in class_rows())}) > 1  # so there is padding
    start = random_shared(parts)
    for client, reply in split_round(parts, start).items():
        assert reply.message is not None, reply.error
        weights, losses, _ = whole_steps(parts, start, client)
        assert [reply.message.facts["first_loss"], reply.message.facts["last_loss"]] == pytest.approx(losses, abs=1e-6)
        assert_equal({name: start[name] + delta for name, delta in reply.message.tensors.items()}, weights)


@pytest.mark.parametrize("tuning", [{"kind": "adapter", "width": 4}, {"kind": "peft", "type": "IA3"}, {"kind": "full"}])
def test_other_tunings_are_cut_the_same_way(folders, tuning):
    parts = split_parts(folders["bert"], "bert", changes={"tuning": tuning}, local={"learning_rate": 0.5})
    start = {name: value + 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2)) for name, value in parts.worker.tensors().items()}  # fmt: skip
    for client, reply in split_round(parts, start).items():
        weights, losses, _ = whole_steps(parts, start, client)
        assert reply.message.facts["last_loss"] == pytest.approx(losses[-1], abs=1e-6)
        assert_equal({name: start[name] + delta for name, delta in reply.message.tensors.items()}, weights)


def test_the_model_itself_is_left_alone(folders):
    parts = split_parts(folders["gpt2"], "gpt2")
    before = parts.worker.tensors()
    split_round(parts, random_shared(parts))
    assert_equal(parts.worker.tensors(), before)
