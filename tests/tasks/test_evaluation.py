import math
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedtailor.errors import SettingError
from fedtailor.learning.over_clients import summarize_clients
from fedtailor.metrics.texts import bleu
from fedtailor.models.heads import logits_at
from fedtailor.records import Example
from fedtailor.tasks import Classification, Decoding, Generation, LanguageModeling
from fedtailor.tasks.evaluate import evaluate, metrics_of
from fedtailor.tasks.evaluation import Evaluation, Pass
from fedtailor.tasks.text.written import references_of


def tiny(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def figures_of(model, task, examples, tokenizer, evaluation=None, *, generate=False, **more):
    shard = task.prepare(examples, tokenizer, keep_examples=True)
    worker = SimpleNamespace(
        model=model,
        task=task,
        processor=tokenizer,
        evaluation=evaluation or Evaluation(generate=Decoding(max_new_tokens=4)),
        device=torch.device("cpu"),
        logits_at=logits_at,
        precision=nullcontext,
    )
    return evaluate(worker, shard, Pass(generate=generate, **more))


PAIRS = [("a", "The Eagle."), ("b c", "It is cheap."), ("a", "An eagle."), ("d" * 40, "Yes.")]
EXAMPLES = [Example(id=f"e-{n}", fields={"input": i, "target": t}) for n, (i, t) in enumerate(PAIRS)]


def test_loss_weighs_every_token_alike_whatever_the_batches(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    whole = figures_of(model, Generation(), EXAMPLES, tokenizer).figures
    one_by_one = [figures_of(model, Generation(), [example], tokenizer).figures for example in EXAMPLES]
    tokens = sum(f["tokens"] for f in one_by_one)
    mean = sum(f["loss"] * f["tokens"] for f in one_by_one) / tokens
    small = figures_of(model, Generation(), EXAMPLES, tokenizer, Evaluation(batch_size=1)).figures
    assert whole["loss"] == pytest.approx(mean, rel=1e-6)
    assert small["loss"] == pytest.approx(mean, rel=1e-6)
    assert (whole["examples"], whole["tokens"]) == (4, tokens)
    assert whole["perplexity"] == pytest.approx(math.exp(mean))
    # words: 2 + 3 + 2 + 1 and an end for each of the four
    assert whole["words"] == 12
    assert whole["perplexity_word"] == pytest.approx(math.exp(mean * tokens / 12))


def test_examples_that_share_a_prompt_are_one_text_with_several_references(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    evaluation = Evaluation(metrics=["bleu", "chrf", "rougeL"], generate=Decoding(max_new_tokens=4))
    found = figures_of(model, Generation(), EXAMPLES, tokenizer, evaluation, generate=True)
    assert [(t["input"], t["references"]) for t in found.texts] == [
        ("a", ["The Eagle.", "An eagle."]),
        ("b c", ["It is cheap."]),
        ("d" * 40, ["Yes."]),
    ]
    assert found.figures["texts"] == 3
    score = bleu([t["text"] for t in found.texts], [t["references"] for t in found.texts])
    assert (found.figures["bleu"], found.bleu_signature) == (score.score, score.signature)
    assert {"loss", "chrf", "rougeL"} <= found.figures.keys()
    assert set(found.figures) <= set(Generation.figures)


def test_texts_are_written_only_where_asked_for_and_needed(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    assert not figures_of(model, Generation(), EXAMPLES, tokenizer, generate=False).texts
    assert not figures_of(model, Generation(), EXAMPLES, tokenizer, Evaluation(metrics=["loss"]), generate=True).texts


def test_references_are_the_list_if_there_is_one():
    def example(**fields):
        return Example(id="e", fields={"target": "t", **fields})

    assert references_of(example(references=np.array(["a", "b"], dtype=object))) == ["a", "b"]
    assert references_of(example(references=["a", "", " "])) == ["a"]
    assert references_of(example(references=[])) == ["t"]
    assert references_of(example(references="a")) == ["a"]
    assert references_of(example()) == ["t"]


def test_language_modeling_has_perplexity_per_token_and_word(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    lines = [Example(id=str(n), fields={"text": "The Eagle is cheap"}) for n in range(5)]
    task = LanguageModeling(block=16)
    found = figures_of(model, task, lines, tokenizer, generate=True).figures
    assert found["words"] == 5 * 5
    assert found["tokens"] == len(tokenizer("The Eagle is cheap\n" * 5)["input_ids"]) - 1
    assert found["perplexity_word"] == pytest.approx(math.exp(found["loss"] * found["tokens"] / 25))
    assert set(found) <= set(task.figures)


def test_classification_has_accuracy_and_macro_f1_in_the_order_of_the_examples(tiny_bert_folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert_folder, num_labels=3)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert_folder)
    texts = ["a", "the eagle is cheap", "b b", "return a copy", "x"]
    model.eval()
    ids = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
    likeliest = [int(model(i).logits.argmax()) for i in ids]
    labels = [likeliest[0], likeliest[1], likeliest[2], likeliest[3], (likeliest[4] + 1) % 3]  # the last one wrong
    examples = [Example(id=t, fields={"text": t, "label": y}) for t, y in zip(texts, labels, strict=True)]
    task = Classification(labels=("x", "y", "z"))
    found = figures_of(model, task, examples, tokenizer, Evaluation(batch_size=2)).figures
    want = torch.nn.functional.cross_entropy(torch.cat([model(i).logits for i in ids]), torch.tensor(labels)).item()
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["loss"] == pytest.approx(want, rel=1e-5)
    assert set(found) == {*task.figures}


def test_model_is_left_in_the_mode_it_was_in(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    model.train()
    figures_of(model, Generation(), EXAMPLES, tokenizer, generate=True)
    assert model.training


def test_progress_counts_examples_then_texts(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    seen = []
    evaluation = Evaluation(batch_size=3, generate=Decoding(max_new_tokens=2))
    figures_of(model, Generation(), EXAMPLES, tokenizer, evaluation, generate=True, progress=lambda *at: seen.append(at))
    assert seen == [(3, 4), (4, 4), (3, 3)]


def test_empty_set_has_no_figures(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    assert figures_of(model, Generation(), [], tokenizer, generate=True).figures == {}


def test_metric_that_the_task_does_not_have_is_reported_with_the_nearest():
    with pytest.raises(SettingError, match=r"'blue'.*did you mean bleu"):
        metrics_of(Generation(), Evaluation(metrics=["loss", "blue"]))


def test_worst_and_tenth_percentile_count_from_the_bad_end():
    # 11 clients with 0..10: the 10th percentile from below is 1, from above 9
    per_client = {f"c-{n:02}": {"loss": float(n), "bleu": float(n), "tokens": 5} for n in range(11)}
    found = summarize_clients(per_client)
    assert found["mean"] == {"loss": 5, "bleu": 5}
    assert found["worst"] == {"loss": 10, "bleu": 0}
    assert found["p10"] == {"loss": pytest.approx(9), "bleu": pytest.approx(1)}


def test_client_that_lacks_a_metric_does_not_enter_it():
    found = summarize_clients({"a": {"loss": 1.0, "bleu": 3.0}, "b": {"loss": 2.0}, "c": {}})
    assert found["mean"] == {"loss": 1.5, "bleu": 3.0}
    assert summarize_clients({}) == {"mean": {}, "worst": {}, "p10": {}}


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("batch_size", 0), ("generate_at", "never"), ("metrics", "loss")])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} is"):
        Evaluation(**{name: value})
