"""What is estimated before a run, against what the run measured."""

import pytest
from denoisers import picture_job, picture_rows, unet_folder  # noqa: F401  fixtures
from distilling import class_data, class_job
from prompted import place_rows, prompting_job

from fedtailor.assembly import assemble
from fedtailor.ledger import forward_flops
from fedtailor.planning import Means, Speed, counts_of, estimate
from fedtailor.planning.means import makespan
from fedtailor.planning.work import BATCHES_DRAWN, evaluation_size, work_of
from fedtailor.running import run

KINDS = {
    "averaging": {},
    "few of them, texts each time": {"clients__per_round": 2, "evaluation__generate_at": "always"},
    "no texts, seldom": {"evaluation__metrics": ["loss"], "evaluation__every": 2},
    "personal": {"personalization": {"kind": "finetune", "epochs": 1}, "evaluation__local_only": True},
    "own weights": {"personalization": "fedalt"},
    "bfloat16": {"protocol__wire": "bfloat16"},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path_factory.mktemp("cache")))


def assert_bytes(found, summary):
    measured = summary["traffic"]["by_kind"]
    assert found.keys() == measured.keys()
    for kind, each in found.items():
        # digits of numbers are what is not known: up to 40 bytes a message, which is nothing beside the weights of a real model
        assert each.down == pytest.approx(measured[kind]["down_bytes"], rel=0.01, abs=40 * each.exchanges), kind
        figures = 0.0 if kind == "train" else 0.25
        assert each.up == pytest.approx(measured[kind]["up_bytes"], rel=max(0.01, figures), abs=40 * each.exchanges), kind


@pytest.mark.few(3)
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_bytes_of_every_kind(make_job, rows, tmp_path, changes):
    job = make_job(stop__rounds=2, **changes)
    found = estimate(assemble(job, given=rows))
    summary = run(job, data=rows, out=tmp_path / "run").summary
    assert_bytes(found.bytes, summary)
    assert found.flops["formula"] == pytest.approx(summary["flops"]["client_total"], rel=0.05) or "personalization" in changes


def test_bytes_of_distillation(tiny_bert_folder, tmp_path):
    job = class_job(tiny_bert_folder, stop__rounds=2)
    found = estimate(assemble(job, given=class_data()))
    assert_bytes(found.bytes, run(job, data=class_data(), out=tmp_path / "run").summary)


def test_bytes_of_a_prompt_search(tiny_backbone_folder, tmp_path):
    pool = [
        f"Name the place in {count} words." for count in range(10, 18)
    ]  # 8 prompts, then 4; with 4 children 8 and 4 again; 4 finalists
    method = {"kind": "search", "pool": pool, "keep": 2, "children": 6, "generations": 2, "start": 2}
    job = prompting_job(tiny_backbone_folder, protocol__method=method)
    found = estimate(assemble(job, given=place_rows()))
    assert_bytes(found.bytes, run(job, data=place_rows(), out=tmp_path / "run").summary)


def test_rounds_too_long_to_look_at_every_batch_are_counted_from_their_beginning(make_job, rows):
    def trained(steps, accumulate):
        parts = assemble(make_job(protocol__local={"steps": steps, "accumulate": accumulate}), given=rows)
        return work_of(parts, next(iter(parts.clients))).round

    for accumulate in (1, 65_536):
        few, many = trained(BATCHES_DRAWN, accumulate), trained(10**7, accumulate)
        assert many.tokens == pytest.approx(few.tokens * 10**7 / BATCHES_DRAWN, rel=0.02)
        assert many.squares == pytest.approx(few.squares * 10**7 / BATCHES_DRAWN, rel=0.02)


def test_full_training_has_six_operations_a_weight(make_job, rows, tmp_path):
    job = make_job(stop__rounds=1, tuning={"kind": "full"})
    found = estimate(assemble(job, given=rows))
    summary = run(job, data=rows, out=tmp_path / "run").summary
    assert found.flops["formula"] == pytest.approx(summary["flops"]["client_total"], rel=0.02)


def test_counts_are_kept_and_seconds_follow_from_speed_and_link(make_job, rows):
    parts = assemble(make_job(stop__rounds=2), given=rows)
    assert counts_of(parts, fresh=False) == {}
    counts = counts_of(parts)
    assert counts_of(parts, fresh=False) == counts
    means = Means(bandwidth=1e6, latency_s=0.5, client_flops=1e9)
    found = estimate(parts, counts=counts, means=means)
    client = found.clients["client-00"]
    assert found.speed == Speed(train=1e9, evaluate=1e9)
    assert client.seconds == pytest.approx(client.flops / 1e9)
    assert client.link_seconds == pytest.approx((client.up_bytes + client.down_bytes) / 1e6 + 0.5)
    assert found.seconds["train"] == pytest.approx(2 * sum(each.flops for each in found.clients.values()) / 1e9)
    alone = estimate(parts, counts=counts, means=Means(bandwidth=1e6, latency_s=0.5, client_flops=1e9, at_once=1))
    assert alone.seconds["run"] > 3 * found.seconds["run"]  # four clients, one after the other


def test_clients_that_take_turns():
    # two places: 3 and 1 begin; at 1 the client of 4 takes the free place and ends at 5; at 3 that of 1 ends at 4
    assert makespan([3, 1, 4, 1], 2) == 5
    assert makespan([3, 1, 4, 1], None) == 4
    assert makespan([3, 1, 4, 1], 1) == 9
    assert makespan([], 2) == 0


def test_memory_has_its_parts(make_job, rows):
    parts = assemble(make_job(), given=rows)
    plain = estimate(parts, counts=counts_of(parts), program=5e8).clients["client-00"].memory
    assert plain.program == 5e8
    assert (
        plain.weights == parts.clients.alike.sizes.backbone_bytes + 16 * parts.clients.alike.sizes.trained
    )  # float32: the weight, its gradient, two moments
    assert plain.peak == sum((plain.program, plain.weights, plain.exchanged, plain.activations, plain.working))
    assert estimate(parts, program=5e8).clients["client-00"].memory.activations is None


def test_a_model_that_cannot_be_counted_is_estimated_by_formula(unet_folder):  # noqa: F811
    parts, heard = assemble(picture_job(unet_folder), given=picture_rows()), []
    assert counts_of(parts, warn=heard.append) == {}
    assert "cannot be counted from shapes" in heard[0]
    assert estimate(parts, means=Means(client_memory=1.0)).flops["train"] > 0


def test_with_hardly_an_epoch_a_round_one_step_is_estimated(make_job, rows):
    local = {"epochs": 1e-6, "batch_size": 4, "learning_rate": 0.1}
    found = estimate(assemble(make_job(protocol__local=local), given=rows))
    assert all(client.flops > 0 for client in found.clients.values())


def test_general_text_is_estimated_as_evaluations_are(make_job, rows, tmp_path):
    file = tmp_path / "general.txt"
    file.write_text("A river runs to the sea, and nobody sells coffee there.\n" * 40)
    plain, more = (assemble(make_job(evaluation__retained=name, stop__rounds=2), given=rows) for name in (None, str(file)))
    text, speed = more.clients.retained, Means(client_flops=1e9)
    counts = counts_of(more)
    once = counts[id(more.worker)].evaluate.flops(evaluation_size(text.shard, more.job.evaluation.batch_size))
    without, found = (estimate(parts, counts=counts_of(parts), means=speed) for parts in (plain, more))
    assert found.flops["server"] - without.flops["server"] == pytest.approx(2 * once)  # the backbone's, and the kept weights'
    for name in ("evaluate", "run"):
        assert found.seconds[name] - without.seconds[name] == pytest.approx(2 * once / 1e9)
    by_formula = estimate(more).flops["server"] - estimate(plain).flops["server"]
    assert by_formula == pytest.approx(2 * forward_flops(int(text.shard.sizes_N.sum()), more.clients.alike.sizes))
    assert estimate(more, rounds=0).flops["server"] == pytest.approx(by_formula / 2)
