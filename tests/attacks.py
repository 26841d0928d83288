"""Misbehaviour of one client, made from the manifest: each kind of message, each fact and each tensor, in ways that no honest client sends."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec, encode
from fedtailor.metrics.figure import OF_COUNTS
from fedtailor.records import Message

BAD_NUMBERS = (
    2**64,
    -(2**70),
    10**400,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    True,
    None,
    "1",
    [1],
    {},
    [[1]],
)
DTYPES = (torch.float64, torch.int64, torch.bool, torch.float16, torch.int8)


@dataclass(frozen=True)
class Attack:
    """What the bad client sends in place of one honest message."""

    name: str
    send: Callable[[Message, list[bytes]], bytes]  # from the honest message, and all that the client has sent before


def attacks_on(manifest: Manifest, honest: Message, answers: tuple[str, ...]) -> Iterator[Attack]:
    """Yield every misbehaviour in place of one message; `answers` are the kinds that may stand in its place."""
    spec = manifest.up[honest.kind]
    needed = {needed for name in honest.facts for needed in spec.facts[name].needs}
    for name, fact in spec.facts.items():
        yield from _on_fact(name, fact, honest, due=name == "scale" or name in needed or not fact.optional)
    for name in _chosen(spec.tensors):
        if name in honest.tensors:
            yield from _on_tensor(name, spec.tensors[name])
    yield from _on_message(honest)
    for kind, other in manifest.up.items():
        if kind not in answers:
            yield Attack(f"kind {kind}", _said(lambda m, kind=kind: replace(m, kind=kind)))
            yield Attack(f"whole {kind}", _said(lambda m, kind=kind, other=other: _made_up(kind, other)))
    yield from _on_bytes()


def _on_fact(name: str, spec: FactSpec, honest: Message, *, due: bool) -> Iterator[Attack]:
    def put(label: str, value: object) -> Attack:
        return Attack(f"{name} {label}", lambda m, before: raw(replace(m, facts={**m.facts, name: value})))

    there = name in honest.facts
    if there and due:
        yield Attack(f"{name} missing", _said(lambda m: replace(m, facts={k: v for k, v in m.facts.items() if k != name})))
    numbers = spec.type in ("int", "float")
    if numbers:
        wrong = list(BAD_NUMBERS)
        wrong += [1.5] if spec.type == "int" else []
        wrong += [spec.most * 2 + 1] if spec.most is not None else []
        wrong += [spec.least - 1e-2 if spec.type == "float" else int(spec.least) - 1] if spec.least is not None else []
        for value in wrong:
            yield put(_short(value), value)
        if (
            spec.fixed and there and (not name.startswith("public.") or name == "public.examples")
        ):  # of which the server knows the latter
            for value in (honest.facts[name] + 1, honest.facts[name] * 1000):
                yield put(f"changed to {value}", value)
    elif spec.type.startswith("list"):
        own = list(honest.facts.get(name, []))
        for bad in (value for value in BAD_NUMBERS if spec.type != "list[str]" or not isinstance(value, str)):
            yield put(f"with {_short(bad)}", [*own[:-1], bad] if own else [bad])
        for value in (1, "text", {}, None, [1] * 100_000, [0] * (spec.most_items + 1), [own]):
            yield put(f"as {type(value).__name__} of {len(value) if isinstance(value, list) else ''}", value)
        if own and spec.most is not None:
            yield put("beyond its bound", [*own[:-1], spec.most * 2 + 1])
        if own:
            yield put("empty", [])
            yield put("longer", [*own, 1, 1])
            yield put("without the last", own[:-1])
        yield from (put(label, values) for label, values in _of_other_sizes(name, spec, own))
    else:
        for value in (1, ["text"], "x" * (spec.most_characters + 1), None):
            yield put(_short(value), value)


def _of_other_sizes(name: str, spec: FactSpec, own: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield longer texts or larger numbers, but where any may be true."""
    if own and spec.type == "list[str]":
        yield "of longer texts", ["x" * (spec.most_characters // len(own) + 1) for _ in own]
    elif own and name != "loss_sums" and not name.endswith(OF_COUNTS) and (spec.least, spec.most) != (None, None):
        yield "of other sizes", [float(v) * 1e6 if "float" in spec.type else int(v) + 2**40 for v in own]


def _on_tensor(name: str, spec: TensorSpec) -> Iterator[Attack]:
    def put(label: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Attack:
        return Attack(f"{name} {label}", _said(lambda m: replace(m, tensors={**m.tensors, name: change(m.tensors[name])})))

    if not spec.optional:
        yield Attack(f"{name} missing", _said(lambda m: replace(m, tensors={k: v for k, v in m.tensors.items() if k != name})))
    yield Attack(
        f"{name} renamed",
        _said(lambda m: replace(m, tensors={(f"{k}.x" if k == name else k): v for k, v in m.tensors.items()})),
    )
    for dtype in DTYPES:
        if str(dtype) != f"torch.{spec.dtype}":
            yield put(f"as {dtype}", lambda t, dtype=dtype: t.to(dtype))
    yield put("of more dimensions", lambda t: t.unsqueeze(0))
    yield put("flat and longer", lambda t: torch.cat([t.reshape(-1)] * 2) if t.dim() != 1 else t.new_zeros(len(t) + 100_000))
    yield put("of more rows", lambda t: torch.cat([t] * 40) if t.dim() else t.reshape(1))
    yield put("without rows", lambda t: t[:0].clone() if t.dim() else t.reshape(1))
    yield put("of another width", lambda t: torch.cat([t] * 2, -1) if t.dim() > 1 else t.reshape(-1, 1))
    if spec.dtype.startswith(("float", "bfloat")):
        values = [float("nan"), float("inf"), -float("inf")] + ([1e38, -1e38, 1e9] if spec.dtype != "float16" else [])
        for value in values:
            yield put(f"with {value}", lambda t, value=value: _with(t, value))


def _on_message(honest: Message) -> Iterator[Attack]:
    yield Attack("an unknown fact", lambda m, before: raw(replace(m, facts={**m.facts, "secret": 1})))
    yield Attack("an unknown tensor", _said(lambda m: replace(m, tensors={**m.tensors, "secret": torch.ones(1)})))
    yield Attack("ten thousand tensors", _said(lambda m: replace(m, tensors={f"t{n}": torch.ones(1) for n in range(10_000)})))
    yield Attack("an unknown kind", _said(lambda m: replace(m, kind="gossip")))
    yield Attack("its last message again", lambda m, before: before[-1] if before else b"")
    if "version" in honest.facts or "step" in honest.facts:
        yield Attack("no facts", _said(lambda m: replace(m, facts={})))
    if honest.tensors:
        yield Attack("no tensors", _said(lambda m: replace(m, tensors={})))
    if "version" in honest.facts:
        yield Attack("of the round before", lambda m, before: raw(replace(m, facts={**m.facts, "version": -1})))
        yield Attack("of the next round", lambda m, before: raw(replace(m, facts={**m.facts, "version": m.facts["version"] + 1})))
    if "step" in honest.facts:
        yield Attack("of the next step", lambda m, before: raw(replace(m, facts={**m.facts, "step": m.facts["step"] + 1})))


def _on_bytes() -> Iterator[Attack]:
    cuts = {"nothing": 0, "one byte": 1, "four bytes": 4, "half of it": 0.5, "all but a byte": -1}
    for name, size in cuts.items():
        yield Attack(
            f"bytes: {name}",
            lambda m, before, size=size: raw(m)[: size if isinstance(size, int) else int(len(raw(m)) * size)],
        )
    yield Attack("bytes: more behind", lambda m, before: raw(m) + b"\0")
    yield Attack("bytes: 2 MB behind", lambda m, before: raw(m) + bytes(2_000_000))
    yield Attack("bytes: other ones", lambda m, before: b"\xff" * len(raw(m)))
    yield Attack("bytes: a header without end", lambda m, before: b"\xff\xff\xff\xff" + raw(m)[4:])
    yield Attack("bytes: nested", lambda m, before: _framed(b"[" * 100_000))
    yield Attack("bytes: nested facts", lambda m, before: _framed(b'{"facts":' + b"[" * 50_000 + b"]" * 50_000 + b',"kind":"x"}'))
    yield Attack(
        "bytes: a key twice", lambda m, before: _framed(_head(m).replace(b'{"facts":', b'{"facts":{},"facts":', 1)) + _tail(m)
    )
    yield Attack("bytes: spaces in the header", lambda m, before: _framed(_head(m) + b" ") + _tail(m))
    yield Attack("bytes: a list for a header", lambda m, before: _framed(b"[1]") + _tail(m))
    yield Attack(
        "bytes: facts as a list", lambda m, before: _framed(json.dumps({"facts": [], "kind": m.kind}).encode()) + _tail(m)
    )
    yield Attack("bytes: a table without end", lambda m, before: _framed(_head(m)) + b"\xff" * 8 + _tail(m)[8:])
    table = b'{"w":{"dtype":"F32","shape":[1000000000000,1000000000000],"data_offsets":[0,4]}}'
    yield Attack(
        "bytes: a shape beyond memory", lambda m, before: _framed(_head(m)) + len(table).to_bytes(8, "little") + table + b"0000"
    )


def raw(message: Message) -> bytes:
    """Return a message as bytes, as somebody writes it who does not use `encode`: facts may be anything that JSON can say."""
    honest = encode(Message(kind=message.kind, facts={}, tensors=message.tensors))
    begin = 4 + int.from_bytes(honest[:4], "big")
    head = json.dumps({"facts": dict(message.facts), "kind": message.kind}, sort_keys=True, separators=(",", ":")).encode()
    return _framed(head) + honest[begin:]


def _said(change: Callable[[Message], Message]) -> Callable[[Message, list[bytes]], bytes]:
    return lambda message, before: raw(change(message))


def _framed(head: bytes) -> bytes:
    return len(head).to_bytes(4, "big") + head


def _head(message: Message) -> bytes:
    data = raw(message)
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def _tail(message: Message) -> bytes:
    data = raw(message)
    return data[4 + int.from_bytes(data[:4], "big") :]


def _made_up(kind: str, spec: MessageSpec) -> Message:
    """Return a message of a kind as it might be listed, with zeros."""
    values = {"int": 1, "float": 1.0, "str": "", "list[int]": [1], "list[float]": [1.0], "list[str]": []}
    tensors = {
        name: torch.zeros([1 if isinstance(size, str) else size for size in each.shape], dtype=getattr(torch, each.dtype))
        for name, each in spec.tensors.items()
    }
    return Message(kind=kind, tensors=tensors, facts={name: values[fact.type] for name, fact in spec.facts.items()})


def _with(tensor: torch.Tensor, value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[-1] = value
    return changed


def _chosen(names: Iterable[str]) -> list[str]:
    """Return the first two and the last two."""
    names = list(names)
    return list(dict.fromkeys(names[:2] + names[-2:]))


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**63 else f"2^{value.bit_length()}"
    return text[:24]
