import torch
import torch.nn.functional as F

from fedtailor.models.heads import logits_at
from fedtailor.records import Example
from fedtailor.tasks import Generation, collate


def tiny(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)


def test_loss_is_the_sum_of_minus_log_p_of_each_counted_token_given_those_before(tiny_backbone_folder):
    model, tokenizer = tiny(tiny_backbone_folder)
    examples = [
        Example(id=str(n), fields={"input": i, "target": t})
        for n, (i, t) in enumerate([("a b", "The Eagle."), ("long input", "x")])
    ]
    task = Generation()
    shard = task.prepare(examples, tokenizer, keep_examples=False)
    total, count = task.loss(model, collate(shard, [0, 1], tokenizer.pad_token_id, torch.device("cpu")), logits_at)
    want, places = 0.0, 0
    for begin, end in zip(shard.starts[:-1].tolist(), shard.starts[1:].tolist(), strict=True):
        ids, counted = shard.tokens_T[begin:end].long(), shard.target_T[begin:end].tolist()
        log_p = F.log_softmax(model(ids[None]).logits[0], dim=-1)
        for place in range(1, len(ids)):
            if counted[place]:
                want -= log_p[place - 1, ids[place]].item()
                places += 1
    assert count == places == int(shard.target_T.sum())
    torch.testing.assert_close(total.item(), want, rtol=1e-5, atol=0)
    assert total.dtype == torch.float32
