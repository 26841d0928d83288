"""Marking answers in texts: the loss by hand, training through averaging, and what cannot be used."""

import pytest
import torch

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.running import run
from fedtailor.tasks import Extraction
from fedtailor.tasks.evaluation import Pass
from fedtailor.tasks.extraction import PLACES, best_spans

PLACES_OF = "river town hill sea wood field lake bridge".split()


def rows(count=32):
    return [
        {
            "question": f"where is inn {n}",
            "text": f"Inn {n} stands by the {PLACES_OF[n % 8]} and is old.",
            "answer": PLACES_OF[n % 8],
        }
        for n in range(count)
    ]


def job_of(backbone, **changes):
    job = Job.from_dict(
        {
            "backbone": str(backbone),
            "task": {"kind": "extraction", "max_tokens": 80},
            "data": {"train": "given.jsonl"},
            "clients": {"count": 2, "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
            "tuning": {"kind": "full"},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.005, "batch_size": 4, "epochs": 4}},
            "stop": {"rounds": 3},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job


def test_the_loss_is_of_first_and_last_token_within_the_text(tiny_bert_folder):
    parts = assemble(job_of(tiny_bert_folder), given=rows())
    worker, shard = parts.worker, parts.clients["client-00"].test
    worker.model.eval()
    with torch.no_grad():
        found = worker.task.losses(worker, shard, Pass())
        total = 0.0
        for n, label in enumerate(shard.labels_N.tolist()):
            place = slice(int(shard.starts[n]), int(shard.starts[n + 1]))
            logits = worker.model(input_ids=shard.tokens_T[place].long()[None])
            inside = shard.target_T[place]
            for own, at in ((logits.start_logits[0], label // PLACES), (logits.end_logits[0], label % PLACES)):
                total -= own.masked_fill(~inside, -torch.inf).log_softmax(0)[at].item() / 2
    assert found.total == pytest.approx(total, rel=1e-4)
    example = shard.examples[0]
    tokens = worker.processor.convert_ids_to_tokens(shard.tokens_T[: int(shard.starts[1])].tolist())
    first, last = int(shard.labels_N[0]) // PLACES, int(shard.labels_N[0]) % PLACES
    joined = "".join(tokens[first : last + 1]).replace("##", "")
    assert example.fields["answer"] in joined.lower()


def test_the_best_answer_ends_where_it_begins_or_later():
    first, last = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([[9.0, 0.0, 1.0]])
    assert best_spans(first, last) == [(0, 0, 9.0)]
    assert best_spans(first, last[:, [1, 0, 2]]) == [(1, 1, 14.0)]
    assert best_spans(torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([[0.0, -9.0, 1.0]])) == [(1, 2, 6.0)]


@pytest.mark.parametrize("tuning", [{"kind": "full"}, {"kind": "lora", "rank": 4, "alpha": 8}], ids=["full", "lora"])
def test_it_is_learned_through_averaging(tiny_bert_folder, tmp_path, tuning):
    rate = 0.005 if tuning["kind"] == "full" else 0.03
    done = run(job_of(tiny_bert_folder, tuning=tuning, protocol__local__learning_rate=rate), data=rows(64), out=tmp_path / "run")
    assert done.summary["validation_loss"]["after"] < 0.8 * done.summary["validation_loss"]["before"]
    assert {"f1", "exact_match"} <= set(done.summary["metrics"]["after"])
    assert done.summary["metrics"]["after"]["f1"] > done.summary["metrics"]["before"]["f1"]


def test_what_cannot_be_used_is_named(tiny_bert_folder):
    broken = [{"question": "where", "text": "An inn by the sea.", "answer": "nowhere"}]
    notes = []
    assemble(job_of(tiny_bert_folder), given=[*rows(), *broken], warn=notes.append)
    assert any("its answer does not stand in its text" in note for note in notes)
    with pytest.raises(SettingError, match="max_tokens is of question and text"):
        Extraction(max_tokens=10)
    with pytest.raises(SettingError, match="does not go with protocol: split"):
        job_of(tiny_bert_folder, protocol={"kind": "split", "cut": 1})
