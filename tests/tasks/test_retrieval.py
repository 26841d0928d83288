"""Training the question's side of an embedder through averaging: passages stay as they are, all of them are negatives."""

import pytest
import torch
from asked import WORDS

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.models.embed import embed_with
from fedtailor.running import run
from fedtailor.tasks.evaluation import Pass


def pairs(count=24):
    """Return questions that name a passage by words of their own, which no backbone knows of."""
    passages = [f"The {word} is {WORDS[-n - 1]}." for n, word in enumerate(WORDS)]
    return [{"question": f"which one is number {n % 12} at {n}", "text": passages[n % 12]} for n in range(count)]


def job_of(backbone, **changes):
    job = Job.from_dict(
        {
            "backbone": str(backbone),
            "task": {"kind": "retrieval"},
            "data": {"train": "given.jsonl"},
            "clients": {"count": 2, "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.05, "batch_size": 4, "epochs": 3}},
            "stop": {"rounds": 2},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job


def test_the_loss_is_over_all_passages_of_the_client(tiny_bert_folder):
    parts = assemble(job_of(tiny_bert_folder), given=pairs())
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
    job = job_of(tiny_bert_folder, protocol__aggregation={"kind": rule}, clients__count=3 if rule == "median" else 2)
    done = run(job, data=pairs(48), out=tmp_path / "run")
    assert done.summary["validation_loss"]["after"] < done.summary["validation_loss"]["before"]
    assert "recall@1" in done.summary["metrics"]["after"]
    parts = assemble(job, given=pairs(48))
    before = parts.worker.vectors.frozen(["a passage"])
    with torch.no_grad():
        for weight in parts.worker.params.values():
            weight.add_(1.0)
    assert torch.equal(type(parts.worker.vectors)(parts.worker.model, parts.worker.processor).frozen(["a passage"]), before)


def test_what_is_wrong_is_named(tiny_bert_folder):
    parts = assemble(job_of(tiny_bert_folder, tuning={"kind": "full"}), given=pairs())
    with pytest.raises(SettingError, match="this tuning changes the backbone itself; choose tuning: lora"):
        parts.worker.task.losses(parts.worker, parts.clients["client-00"].train, Pass())
    with pytest.raises(SettingError, match="retrieval does not go with protocol: retrieval"):
        job_of(tiny_bert_folder, protocol={"kind": "retrieval"}, tuning="frozen")
    with pytest.raises(SettingError, match="does not go with protocol: distillation"):
        job_of(tiny_bert_folder, protocol={"kind": "distillation", "public": "x.jsonl"})
    with pytest.raises(SettingError, match="scale is what cosines"):
        job_of(tiny_bert_folder, task={"kind": "retrieval", "scale": 0})
