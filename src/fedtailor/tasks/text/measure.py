"""What tasks of texts share: batches of tokens, the one loss, and the figures that follow from its sums."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from ...metrics.figure import OF_COUNTS, perplexity
from ...metrics.own import own_score
from ..by_instance import by_instance
from ..evaluate import metrics_of, writes_texts
from ..evaluation import Measured, Pass
from ..losses import Losses
from ..shard import Batch, Shard, collate, inputs_of, tokens_of
from ..task import Bench, Objective, TextTask, padding_of
from .written import score_texts, write_texts


def token_batch(worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
    """Return the texts numbered `rows` as one padded batch on the worker's device."""
    return collate(tokens_of(shard), rows, worker.processor.pad_token_id, worker.device, padding_of(worker.model))


def seen_batch(worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
    """Return the same, once what must look at each batch before the model does has seen it."""
    batch = token_batch(worker, shard, rows)
    if (instance := by_instance(worker.model)) is not None:
        instance.begin(*inputs_of(batch))
    return batch


def text_objective(task: TextTask, worker: Bench) -> Objective:
    """Return the one loss of a task of texts."""

    def loss(batch: Batch) -> tuple[Tensor, int]:
        with worker.computing(tokens=batch.input_ids_BL.shape[1]):
            return task.loss(worker.model, batch, worker.logits_at)

    return Objective(name="loss", loss=loss)


def token_losses(task: TextTask, worker: Bench, shard: Shard, how: Pass) -> Losses:
    """Return the sums of the loss of each next token over all of `shard`."""

    def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
        loss, count = task.loss(worker.model, seen_batch(worker, shard, rows), worker.logits_at)
        return loss.item(), count, None

    return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)


def measure_tokens(task: TextTask, worker: Bench, shard: Shard, how: Pass) -> Measured:
    """Return means and perplexities of the loss of each next token, and over how many; nothing where texts alone are wanted."""
    if how.texts_alone:
        return Measured(figures={}, losses=how.known)
    losses = how.known or token_losses(task, worker, shard, how)
    figures: dict[str, float] = {"loss": losses.total / losses.counted, "examples": len(shard)}
    figures |= {"tokens": losses.counted, "perplexity": perplexity(losses.total, losses.counted)}
    words_N = tokens_of(shard).words_N
    words = 0 if words_N is None else int(words_N.sum())
    if words:
        figures |= {"words": words, "perplexity_word": perplexity(losses.total, words)}
    return Measured(figures=figures, losses=losses)


def with_texts(measured: Measured, task: TextTask, worker: Bench, shard: Shard, how: Pass) -> Measured:
    """Return what was measured with the metrics of the texts that the model writes, where they are asked for."""
    evaluation = worker.evaluation
    if not how.generate or not writes_texts(task, evaluation):
        return measured
    texts = write_texts(worker.model, task, shard.examples, worker.processor, evaluation.generate, progress=how.progress)
    if not texts:
        return measured
    written, references = [t["text"] for t in texts], [t["references"] for t in texts]
    scores = score_texts(metrics_of(task, evaluation), written, references, evaluation.bleu)
    own = {metric.name: own_score(metric, written, references) for metric in evaluation.own_metrics}
    of_texts: Mapping[str, float] = {name: found.score for name, found in scores.items()}
    return replace(
        measured,
        figures={**measured.figures, "texts": len(texts), **of_texts, **own},
        counts={**measured.counts, **{f"{name}{OF_COUNTS}": found.counts for name, found in scores.items() if found.counts}},
        texts=texts,
        bleu_signature=scores["bleu"].signature if "bleu" in scores else None,
    )
