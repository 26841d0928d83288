"""Words from updates: which tokens of its examples a client's update names.

Rows of the change of a weight W, or of LoRA's A, at the first attention layer are combinations of what went into it, and that is a function of a token alone: the normed
embedding. Span check (Petrov et al., 2024, DAGER, arXiv:2405.15586): tokens whose vector lies nearest to the space of these rows. Joint recovery: greedy selection of the
vectors that explain all rows at once (simultaneous orthogonal matching pursuit, Tropp et al., 2006). Both name as many tokens as there are; the share that is right is
recall and precision at once. The floor is what the same attack names from noise of the update's size.

Seen are: one client's update; the same behind the protections of its messages, such as a code or shares of noise; and the sum over several clients, which is all that a server sees
under secure aggregation. Noise that the server adds comes after all of these.

Of models that add positions to embeddings, tokens are looked for at the first position alone.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..interfaces import AtClient, Crossing, OnMessages
from ..learning.client import Client
from ..learning.local import LocalTraining
from ..learning.store import Store
from ..learning.training import train_locally
from ..learning.work import Training
from ..messages import MessageSpec, specs_of
from ..records import Message
from ..tasks.shard import TokenShard, tokens_of
from ..tensors import Tensors, add, map_tensors
from .finding import Finding
from .opened import Opened, privacy_of_copy

NAME = "words"
ROWS = 4  # examples of a client whose words are looked for
MOST_WORDS = 200
SUMMED = 5  # clients whose sum is looked at, with an example each
QUERIES = ("q_proj", "query", "c_attn", "Wqkv", "query_key_value", "qkv_proj")  # what first sees a token, by family

# V vocabulary, D width, R rows of an update


class Seen(Exception):
    """The input of the first layer was seen."""


def words(run: Opened) -> Iterator[Finding]:
    """Yield the share of words that two attacks name from what one client sends, as the job trains, and from one plain step.

    Raises:
        SettingError: if the model has no attention layer with a weight that is trained, or that this attack knows.
    """
    sent = {name: param for name, param in run.worker.params.items() if name in run.start}
    layer, weight = first_layer(run.worker.model, sent)
    states = [state for _, state in sorted(run.parts.clients.items()) if len(state.train)]
    if not all(isinstance(state.train, TokenShard) for state in states[:SUMMED]):
        raise SettingError(f"the attack {NAME} is for tasks of texts; leave it out (--only)")
    with run.worker.precision():
        vectors_VD = vectors(run.worker.model, layer, len(run.worker.processor))
    job = run.parts.protocol.local
    step = replace(
        job, optimizer="sgd", momentum=0.0, learning_rate=1e-2, steps=1, privacy=None, clip_norm=None, keep_optimizer=False
    )
    for way, local in {"one step of SGD": step, "the job's own training": job}.items():
        some = _some(states[0], ROWS)
        delta = _update(run, states[0], some, local)
        target = f"an update of {states[0].id} on {len(some)} examples, {way}"
        yield from _named(target, delta[weight], some, vectors_VD)
        behind = behind_protections(run, delta, client=states[0].id)
        if behind is not None:
            yield from _named(f"{target}, as it is sent", behind[weight], some, vectors_VD)
    if len(states) > 1:
        yield from _of_sum(run, states[:SUMMED], step, weight, vectors_VD)


def behind_protections(run: Opened, delta: Tensors, *, client: str) -> Tensors | None:
    """Return what the server reads of an update once it has passed the protections of the job's messages; None if there are none.

    Masks of a secure sum are left out: what is left of those is the sum.
    """
    applied = [part for part in run.job.protection if isinstance(part, OnMessages) and not isinstance(part, AtClient)]
    if not applied:
        return None
    specs = {name: replace(spec, reveals="update") for name, spec in specs_of(delta, "float32").items()}
    message = Message(kind="train", tensors=delta)
    at_client = Crossing(client=client, spec=MessageSpec(tensors=specs), plan=run.parts.plan, kept=Store(id=client))
    for part in applied:
        message = part.leave(message, at_client)
    for part in reversed(applied):
        message = part.arrive(message, replace(at_client, kept=None))
    return message.tensors


def _of_sum(run: Opened, states: list[Client], step: LocalTraining, weight: str, vectors_VD: Tensor) -> Iterator[Finding]:
    """Yield what is named of the sum of several clients' updates."""
    some = [_some(state, 1) for state in states]
    total: Tensors = {}
    for state, shard in zip(states, some, strict=True):
        delta = _update(run, state, shard, step)
        total = add(total, delta) if total else delta
    tokens = torch.cat([shard.tokens_T for shard in some])
    target = f"the sum of {len(states)} clients, an example each, one step of SGD"
    yield from _named(target, total[weight], replace(some[0], tokens_T=tokens), vectors_VD)


def _some(client: Client, count: int) -> TokenShard:
    train = tokens_of(client.train)
    return train.select(range(min(count, len(train))))


def _named(target: str, rows_RD: Tensor, some: TokenShard, vectors_VD: Tensor) -> Iterator[Finding]:
    """Yield the share of the tokens of `some` that each attack names from an update's rows."""
    truth = set(some.tokens_T.tolist())
    noise_RD = torch.randn(rows_RD.shape, generator=torch.Generator().manual_seed(0)) * rows_RD.std()
    for figure, attack in (("span check", span_check), ("joint recovery", joint_recovery)):
        count = min(MOST_WORDS, len(truth))
        value, floor = (len(truth & set(attack(rows, vectors_VD, count))) / count for rows in (rows_RD, noise_RD))
        note = f"{len(truth)} distinct tokens"
        yield Finding(attack=NAME, target=target, figure=f"share of words named: {figure}", value=value, floor=floor, note=note)


def first_layer(model: nn.Module, params: dict[str, nn.Parameter]) -> tuple[nn.Module, str]:
    """Return the first attention layer that sees tokens, and the name of its weight [out, D], or of LoRA's A [rank, D], that is trained.

    Raises:
        SettingError: if the job trains neither queries, keys nor values of it.
    """
    named = {param: name for name, param in params.items()}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] not in QUERIES:
            continue
        for part, param in module.named_parameters():
            if param in named and param.dim() == 2 and ("lora_A" in part or part in {"weight", "base_layer.weight"}):
                return module, named[param]
        break
    raise SettingError(
        f"the attack {NAME} looks at the first attention layer, and this job trains neither its queries ({', '.join(QUERIES)}) nor a LoRA of them; leave it out (--only)"
    )


@torch.inference_mode()
def vectors(model: nn.Module, layer: nn.Module, vocabulary: int) -> Tensor:
    """Return what goes into a layer for each token by itself, float32 [V, D], each of length 1."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0][:, -1].float())
        raise Seen

    handle = layer.register_forward_pre_hook(catch)
    try:
        for begin in range(0, vocabulary, 4_096):
            ids_B1 = torch.arange(begin, min(begin + 4_096, vocabulary))[:, None]
            try:
                model(input_ids=ids_B1, attention_mask=torch.ones_like(ids_B1))
            except Seen:
                continue
    finally:
        handle.remove()
    return nn.functional.normalize(torch.cat(caught), dim=1)


def span_check(rows_RD: Tensor, vectors_VD: Tensor, count: int) -> list[int]:
    """Return so many tokens whose vectors are nearest to the space of the rows."""
    _, sizes, space_RD = torch.linalg.svd(rows_RD, full_matrices=False)
    kept = space_RD[sizes > 1e-5 * sizes[0]] if len(sizes) and sizes[0] > 0 else space_RD[:0]
    inside_V = (vectors_VD @ kept.T).square().sum(1)
    found: list[int] = inside_V.topk(count).indices.tolist()
    return found


def joint_recovery(rows_RD: Tensor, vectors_VD: Tensor, count: int) -> list[int]:
    """Return so many tokens, chosen one after the other, whose vectors together explain the rows best."""
    basis: list[Tensor] = []
    left_RD, chosen = rows_RD.clone(), list[int]()
    allowed_V = torch.ones(len(vectors_VD), dtype=torch.bool)
    for _ in range(count):
        score_V = (vectors_VD @ left_RD.T).square().sum(1).masked_fill(~allowed_V, -1.0)
        token = int(score_V.argmax())
        allowed_V[token] = False
        chosen.append(token)
        direction_D = vectors_VD[token].clone()
        for known_D in basis:
            direction_D -= (direction_D @ known_D) * known_D
        length = direction_D.norm()
        if length > 1e-6:
            basis.append(direction_D / length)
            left_RD -= torch.outer(left_RD @ basis[-1], basis[-1])
    return chosen


def _update(run: Opened, client: Client, some: TokenShard, local: LocalTraining) -> Tensors:
    """Return the change of all weights by local training from where the run began, with B moved off zero where there is one, float32."""
    with run.weights(run.start):
        for name, param in run.worker.params.items():
            if "lora_B" in name and not param.any():  # after the first step of a run it is zero no more
                param.data.normal_(std=1e-3, generator=torch.Generator().manual_seed(0))
        received = run.worker.tensors()
        private = privacy_of_copy(client, len(some), 1) if local.privacy else None
        work = Training(
            worker=run.worker, shard=some, settings=local, round=1, client=client.id, private=private, received=received
        )
        return map_tensors(lambda value: value.float().cpu(), train_locally(work).delta)
