"""Examples of generation, and what a shard of them holds."""

from fedtailor.records import Example


def example(input="name[The Eagle]", target="The Eagle is cheap.", id="e-1", **more):
    return Example(id=id, fields={"input": input, "target": target, **more})


def row(shard, number=0):
    """Return the tokens of one example and which of them are counted."""
    begin, end = shard.starts[number], shard.starts[number + 1]
    return shard.tokens_T[begin:end].tolist(), shard.target_T[begin:end].tolist()


def counted(shard, number=0):
    return [token for token, counts in zip(*row(shard, number), strict=True) if counts]


def uncounted(shard, number=0):
    return [token for token, counts in zip(*row(shard, number), strict=True) if not counts]
