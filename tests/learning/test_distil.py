"""The loss of distillation by hand, and what a model says at every place."""

import math

import pytest
import torch
import torch.nn.functional as F

from fedtailor.chance import torch_draws
from fedtailor.errors import SettingError
from fedtailor.learning.distil import NO_LABEL, Fitting, distil, distillation_loss, places_in, say
from fedtailor.learning.public_fit import row_scores, separability
from fedtailor.learning.training import train_locally
from fedtailor.learning.worker import Worker
from fedtailor.messages.wires.logits import VALUES, LogitsWire
from fedtailor.models import load_backbone
from fedtailor.records import Example
from fedtailor.tasks import Classification, Generation, LanguageModeling, counted_targets
from fedtailor.tasks.evaluation import Evaluation
from fedtailor.tuning import Lora


def worker_of(folder, task, tmp_path):
    backbone = load_backbone(
        str(folder), kind=task.backbone, labels=task.labels_of(()), device=torch.device("cpu"), base=tmp_path, seed=0
    )
    tuning = Lora(rank=2, alpha=4)
    return Worker(
        model=tuning.attach(backbone.model, 0),
        processor=backbone.processor,
        task=task,
        tuning=tuning,
        evaluation=Evaluation(batch_size=3),
        device=torch.device("cpu"),
        bfloat16=False,
        seed=0,
    )


def pairs(count):
    return [
        Example(id=f"e-{n}", fields={"input": "so " * (n % 4 + 1), "target": f"it is {n}" + "!" * (n % 3)}) for n in range(count)
    ]


def test_the_loss_by_hand():
    # T = 2. Teacher (0.9, 0.1) softened: sqrt gives 3 : 1, so (0.75, 0.25). Student's logits (0, 0): (0.5, 0.5).
    # KL = 0.75 ln 1.5 + 0.25 ln 0.5 = 0.130812; 0.25 * 4 * KL = 0.130812; 0.75 CE = 0.75 ln 2 = 0.519860
    teacher = torch.tensor([[0.9, 0.1]]).log()
    found = distillation_loss(torch.zeros(1, 2), torch.tensor([1]), teacher, temperature=2.0, weight=0.25)
    assert found.item() == pytest.approx(0.130812 + 0.519860, abs=1e-5)
    unknown = distillation_loss(torch.zeros(1, 2), torch.tensor([NO_LABEL]), teacher, temperature=2.0, weight=0.25)
    assert unknown.item() == pytest.approx(0.130812, abs=1e-5)
    alone = distillation_loss(torch.zeros(1, 2), torch.tensor([1]), teacher, temperature=1.0, weight=1.0)
    assert alone.item() == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2), abs=1e-5)


def test_the_gradient_draws_towards_the_teacher():
    student = torch.zeros(1, 2, requires_grad=True)
    distillation_loss(student, torch.tensor([NO_LABEL]), torch.tensor([[0.9, 0.1]]).log(), temperature=1.0, weight=1.0).backward()
    torch.testing.assert_close(student.grad, torch.tensor([[0.5 - 0.9, 0.5 - 0.1]]))  # q - p


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"batch_size": 0}, {"epochs": -1.0}, {"steps": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Fitting(**wrong)


def test_places_are_counted_as_the_loss_counts_them(tiny_backbone_folder, tmp_path):
    worker = worker_of(tiny_backbone_folder, LanguageModeling(block=12, stride=8), tmp_path)
    lines = [Example(id=str(n), fields={"text": f"line {n} of a text"}) for n in range(6)]
    shard = worker.task.prepare(lines, worker.processor, keep_examples=False)
    for row in range(len(shard)):
        assert worker.loss(worker.batch(shard, [row]))[1] == counted_targets(shard)[row]
    places_of = places_in(shard)
    assert torch.cat([places_of([row]) for row in range(len(shard))]).tolist() == list(range(int(counted_targets(shard).sum())))


def test_what_is_said_stands_in_the_order_of_rows(tiny_backbone_folder, tmp_path):
    worker = worker_of(tiny_backbone_folder, Generation(), tmp_path)
    shard = worker.task.prepare(pairs(7), worker.processor, keep_examples=False)
    classes = worker.model.get_output_embeddings().weight.shape[0]
    wire = LogitsWire(dtype="float32", classes=classes)
    found = say(worker, shard, wire.encode)
    places_of = places_in(shard)
    for row in range(7):
        ids = shard.tokens_T[shard.starts[row] : shard.starts[row + 1]].long()
        mask = shard.target_T[shard.starts[row] : shard.starts[row + 1]]
        with torch.no_grad():
            logits = worker.model(input_ids=ids[None]).logits[0, :-1][mask[1:]]
        torch.testing.assert_close(wire.decode(found, places_of([row])), torch.log_softmax(logits, -1), rtol=1e-4, atol=1e-4)
    assert len(found[VALUES]) == int(counted_targets(shard).sum())


def test_a_student_comes_to_say_what_the_teacher_says(tiny_bert_folder, tmp_path):
    worker = worker_of(tiny_bert_folder, Classification(labels=("a", "b", "c")), tmp_path)
    rows = [Example(id=str(n), fields={"text": "xyz"[n % 3] * 3, "label": n % 3}) for n in range(30)]
    shard = worker.task.prepare(rows, worker.processor, keep_examples=False)
    wanted = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]).log()[shard.labels_N]
    wire = LogitsWire(dtype="float32", classes=3)

    def distance():
        said = wire.decode(say(worker, shard, wire.encode))
        return F.kl_div(said, wanted, log_target=True, reduction="batchmean").item()

    before = distance()
    settings = Fitting(epochs=15, learning_rate=0.03, batch_size=6)
    done = train_locally(
        distil(worker, shard, lambda places: wanted[places], settings, temperature=2.0, weight=1.0, round=1, purpose="distil-")
    )
    assert distance() < 0.2 * before
    assert len(done.losses) == 15 * 5
    assert done.targets == 15 * 30


def test_selected_rows_are_those_rows(tiny_backbone_folder, tmp_path):
    worker = worker_of(tiny_backbone_folder, Generation(), tmp_path)
    shard = worker.task.prepare(pairs(5), worker.processor, keep_examples=False)
    part = shard.select([4, 1])
    for row, source in enumerate([4, 1]):
        assert torch.equal(
            part.tokens_T[part.starts[row] : part.starts[row + 1]],
            shard.tokens_T[shard.starts[source] : shard.starts[source + 1]],
        )
    assert part.words_N.tolist() == shard.words_N[[4, 1]].tolist()


def test_sets_that_differ_are_distinguished(tiny_bert_folder, tmp_path):
    worker = worker_of(tiny_bert_folder, Classification(labels=("a", "b")), tmp_path)

    def shard(word, count=40):
        rows = [Example(id=str(n), fields={"text": f"{word} {n % 7} {'so' * (n % 3)}", "label": 0}) for n in range(count)]
        return worker.task.prepare(rows, worker.processor, keep_examples=False)

    with torch_draws(0):
        alike, _ = separability(worker, shard("card"), shard("card"), client="a")
        apart, tokens = separability(worker, shard("card"), shard("=> def f(x):"), client="a")
    assert 0.3 < alike < 0.7
    assert apart > 0.95
    assert tokens == len(shard("card").tokens_T) + len(shard("=> def f(x):").tokens_T)
    assert separability(worker, shard("card", 5), shard("card"), client="a") == (None, 0)


def test_rows_like_the_clients_own_have_the_higher_scores(tiny_bert_folder, tmp_path):
    worker = worker_of(tiny_bert_folder, Classification(labels=("a", "b")), tmp_path)

    def shard(words, count=60):
        texts = [f"{words[n % len(words)]} {n % 7} {'so' * (n % 3)}" for n in range(count)]
        rows = [Example(id=str(n), fields={"text": text, "label": 0}) for n, text in enumerate(texts)]
        return worker.task.prepare(rows, worker.processor, keep_examples=False)

    own, public = shard(["card"]), shard(["card", "=> def f(x):"])
    scores_N, tokens = row_scores(worker, own, public, round=1, client="a")
    assert scores_N.dtype == torch.uint8
    assert scores_N[0::2].min() > scores_N[1::2].max()
    assert tokens == len(own.tokens_T) + len(public.tokens_T)
    assert torch.equal(scores_N, row_scores(worker, own, public, round=1, client="a")[0])
    assert row_scores(worker, shard(["card"], 5), public, round=1, client="a") == (None, 0)
