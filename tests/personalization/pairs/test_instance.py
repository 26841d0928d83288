"""How much of its local adapter a client of FedDPA takes for an input."""

import pytest
import torch
import torch.nn.functional as F

from fedtailor.assembly import assemble
from fedtailor.personalization.pairs.instance import InstanceShare, share_of_inputs, units
from fedtailor.tasks import Decoding
from fedtailor.tasks.shard import inputs_of
from fedtailor.tasks.text.generate import generate
from fedtailor.tuning.adapters.mixture import mixed
from fedtailor.tuning.adapters.second import adapter_parameters

FEDDPA = {"kind": "feddpa"}


def with_own_adapter(make_job, rows, **settings):
    """Return the parts of a job whose local adapter is far from zero."""
    parts = assemble(make_job(personalization=FEDDPA | settings, tuning__dropout=0.0), given=rows)
    draw = torch.Generator().manual_seed(3)
    for parameter in adapter_parameters(parts.worker.model, "own").values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw))
    return parts


def hidden(model, ids):
    """Return the last layer's hidden state of the last token, with the local adapter alone."""
    with mixed(model, "own", lambda module, x: 1.0), torch.no_grad():
        return model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1]


def test_a_share_is_the_scaled_mean_of_cosines_with_training_inputs(make_job, rows):
    parts = with_own_adapter(make_job, rows)
    worker, model = parts.worker, parts.worker.model
    shard = next(iter(parts.clients.values())).train
    prompts = []
    for row in range(4):
        tokens = shard.tokens_T[shard.starts[row] : shard.starts[row + 1]].tolist()
        target = shard.target_T[shard.starts[row] : shard.starts[row + 1]].tolist()
        prompts.append(tokens[: target.index(True)])  # what stands before the first target
    one, *others = [hidden(model, prompt) for prompt in prompts]
    cosines = [F.cosine_similarity(one, other, dim=0).item() for other in others]
    share = share_of_inputs(worker, "own", shard, [1, 2, 3], scale=0.5, pooled=False, batch_size=2)
    batch = worker.batch(shard, [0, 1, 2, 3])  # with targets, and padded on the right: neither counts
    with share.placed():
        share.begin(*inputs_of(batch))
    assert share.share_B[0].item() == pytest.approx(max(0.0, 0.5 * sum(cosines) / 3), abs=1e-5)
    assert 0 < share.share_B[0] < 0.5
    left = torch.tensor([[0, 0, *prompts[0]]])  # padded on the left, as in generation
    mask = torch.tensor([[0, 0, *[1] * len(prompts[0])]])
    with share.placed():
        share.begin(left, mask, mask.bool())
    assert share.share_B[0].item() == pytest.approx(max(0.0, 0.5 * sum(cosines) / 3), abs=1e-5)


def test_an_input_unlike_the_clients_own_has_no_share(make_job, rows):
    model = with_own_adapter(make_job, rows).worker.model
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(ids)
    with mixed(model, "own", lambda module, x: 1.0):
        unit_BH = units(model, ids, mask, mask.bool(), pooled=False)
    for centroid, wanted in ((-unit_BH[0], 0.0), (unit_BH[0], 0.4)):
        share = InstanceShare(model, "own", centroid_H=centroid, scale=0.4, pooled=False)
        with share.placed():
            share.begin(ids, mask, mask.bool())
        assert share.share_B.item() == pytest.approx(wanted, abs=1e-6)


def test_targets_have_no_part_in_the_share(make_job, rows):
    parts = with_own_adapter(make_job, rows)
    shard = next(iter(parts.clients.values())).train
    share = share_of_inputs(parts.worker, "own", shard, [0], scale=1.0, pooled=False, batch_size=1)
    ids, mask, where = inputs_of(parts.worker.batch(shard, [1]))
    found = []
    with share.placed():
        for tokens in (ids, torch.where(where, ids, 77)):
            share.begin(tokens, mask, where)
            found.append(share.share_B.item())
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.parametrize("beams", [1, 2])
def test_texts_of_a_batch_are_those_written_one_by_one(make_job, rows, beams):
    """Each row has a share of its own, also when others have left the batch or a text has several beams."""
    parts = with_own_adapter(make_job, rows)
    worker = parts.worker
    own = next(iter(parts.clients.values()))
    share = share_of_inputs(worker, "own", own.train, [0, 1], scale=1.0, pooled=False, batch_size=2)
    prompts = [[40, 41], [90, 7, 130, 22, 9], [200] * 7, [11, 12, 13]]
    decoding = Decoding(max_new_tokens=8, beams=beams)
    with share.placed():
        together = generate(worker.model, worker.processor, prompts, decoding)
        alone = [generate(worker.model, worker.processor, [prompt], decoding)[0] for prompt in prompts]
    plain = generate(worker.model, worker.processor, prompts, decoding)
    assert together == alone
    assert together != plain
    assert not hasattr(worker.model, "by_instance")
