"""Training the question's side of an embedder through averaging: passages stay as they are, all of them are negatives."""

import pytest
import torch
from questioned import pairs, training_job

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.models.embed import embed_with
from fedtailor.running import run
from fedtailor.tasks.evaluation import Pass


def test_the_loss_is_over_all_passages_of_the_client(tiny_bert_folder):
    parts = assemble(training_job(tiny_bert_folder), given=pairs())
    worker, state = parts.worker, parts.clients["client-00"]
    texts = list(dict.fromkeys(example.fields["text"] for example in state.train.examples))
    base = worker.model.get_base_model()
    questions = [example.fields["question"] for example in state.train.examples]
    q, p = (torch.from_numpy(embed_with(base, worker.processor, some, most_tokens=64)) for some in (questions, texts))
    right = torch.tensor([texts.index(example.fields["text"]) for example in state.train.examples])
    expected = torch.nn.functional.cross_entropy(20.0 * q @ p.T, right, reduction="sum").item()
    worker.model.eval()
    with torch.no_grad():
        found = worker.task.losses(worker, state.train, Pass())
    assert found.total == pytest.approx(expected, rel=1e-4)
    assert found.counted == len(questions)
    cosines = q @ p.T
    ranks = (cosines >= cosines.gather(1, right[:, None])).sum(1)
    with torch.no_grad():
        figures = worker.task.measure(worker, state.train, Pass()).figures
    assert figures["recall@1"] == pytest.approx((ranks <= 1).float().mean().item())
    assert figures["recall@5"] == pytest.approx((ranks <= 5).float().mean().item())


@pytest.mark.parametrize("rule", ["fedavg", "ffa-lora", "flora", "fedadam", "median"])
def test_it_learns_and_passages_stay(tiny_bert_folder, tmp_path, rule):
    job = training_job(tiny_bert_folder, protocol__aggregation={"kind": rule}, clients__count=3 if rule == "median" else 2)
    done = run(job, data=pairs(48), out=tmp_path / "run")
    assert done.summary["validation_loss"]["after"] < done.summary["validation_loss"]["before"]
    assert "recall@1" in done.summary["metrics"]["after"]
    parts = assemble(job, given=pairs(48))
    before = parts.worker.vectors.frozen(["a passage"])
    with torch.no_grad():
        for weight in parts.worker.params.values():
            weight.add_(1.0)
    assert torch.equal(type(parts.worker.vectors)(parts.worker.model, parts.worker.processor).frozen(["a passage"]), before)


def test_vectors_of_a_list_hang_on_nothing_that_was_embedded_before(tiny_bert_folder):
    parts = assemble(training_job(tiny_bert_folder), given=pairs())
    texts = [f"passage {n} " + "of the river " * (n % 7) for n in range(40)]

    def fresh():
        return type(parts.worker.vectors)(parts.worker.model, parts.worker.processor)

    for before in (texts[:1], texts[3:20:2], texts[::-1]):
        vectors = fresh()
        vectors.frozen(before)
        assert torch.equal(vectors.frozen(texts), fresh().frozen(texts))
        assert vectors.frozen(texts).data_ptr() == vectors.frozen(texts).data_ptr()  # computed once


def test_what_is_wrong_is_named(tiny_bert_folder):
    parts = assemble(training_job(tiny_bert_folder, tuning={"kind": "full"}), given=pairs())
    with pytest.raises(SettingError, match="this tuning changes the backbone itself; choose tuning: lora"):
        parts.worker.task.losses(parts.worker, parts.clients["client-00"].train, Pass())
    with pytest.raises(SettingError, match="retrieval does not go with protocol: retrieval"):
        training_job(tiny_bert_folder, protocol={"kind": "retrieval"}, tuning="frozen")
    with pytest.raises(SettingError, match="does not go with protocol: distillation"):
        training_job(tiny_bert_folder, protocol={"kind": "distillation", "public": "x.jsonl"})
    with pytest.raises(SettingError, match="scale is what cosines"):
        training_job(tiny_bert_folder, task={"kind": "retrieval", "scale": 0})
