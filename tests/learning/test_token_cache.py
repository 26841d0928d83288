"""Tokenized parts are found again by content, are private, and never stand in the way."""

import json

import pytest
import torch

from fedtailor.learning import token_cache
from fedtailor.learning.token_cache import TokenCache
from fedtailor.records import Example
from fedtailor.tasks.shard import Shard, TokenShard
from fedtailor.user_cache import token_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(token_cache, "LEAST_EXAMPLES", 3)
    return TokenCache("salt")


def examples(text: str = "x") -> list[Example]:
    return [Example(id=f"e-{i}", fields={"text": text * i}) for i in range(4)]


def made(given, calls):
    def make() -> Shard:
        calls.append(1)
        return TokenShard(
            tokens_T=torch.tensor([1, 2, 3], dtype=torch.int32),
            target_T=torch.tensor([True, False, True]),
            starts=torch.tensor([0, 1, 3]),
            examples=(given[1], given[3]),
            dropped=(("e-0", "it is empty"), ("e-2", "too long")),
            marked=2,
        )

    return make


def test_a_part_is_made_once_and_is_the_same_after(cache):
    calls, given = [], examples()
    first = cache.shard(given, made(given, calls), keep_examples=True)
    again = examples()
    second = cache.shard(again, made(again, calls), keep_examples=True)
    assert len(calls) == 1
    for name in ("tokens_T", "target_T", "starts"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert (second.dropped, second.marked, second.labels_N) == (first.dropped, 2, None)
    assert [example.id for example in second.examples] == ["e-1", "e-3"]
    assert second.examples[0] is again[1]


def test_other_content_other_settings_and_small_parts_are_made(cache):
    calls = []
    for own, given in ((cache, examples()), (cache, examples("y")), (TokenCache("other"), examples())):
        own.shard(given, made(given, calls), keep_examples=True)
    few = examples()[:2]
    for _ in range(2):
        cache.shard(few, lambda: calls.append(1) or None, keep_examples=False)
    assert len(calls) == 5
    assert len(list(token_folder().glob("*.safetensors"))) == 3


def test_it_is_private_and_a_damaged_entry_is_written_again(cache):
    calls, given = [], examples()
    cache.shard(given, made(given, calls), keep_examples=True)
    (file,) = token_folder().glob("*.safetensors")
    assert token_folder().stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o077 == 0
    whole = file.read_bytes()
    for hurt in (b"", whole[:20], whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1]), b"\xff" * 100):
        file.write_bytes(hurt)
        cache.shard(given, made(given, calls), keep_examples=True)
        assert file.read_bytes() == whole
    assert len(calls) == 6


def test_a_folder_that_cannot_be_written_costs_nothing(cache, tmp_path):
    (tmp_path / "cache").write_text("a file in the place of the folder")
    calls, given = [], examples()
    assert len(cache.shard(given, made(given, calls), keep_examples=True)) == 2


def test_a_job_reads_its_files_once_and_the_setting_switches_it_off(tiny_backbone_folder, tmp_path, monkeypatch, cache):
    from jobs import tiny_job, tiny_rows

    from fedtailor.assembly import assemble

    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()))
    job = tiny_job(tiny_backbone_folder, data__train=str(tmp_path / "train.jsonl"))
    assemble(job.replace("data.cache", False))
    assert not token_folder().exists()
    first = assemble(job)
    kept = {file.name for file in token_folder().glob("*")}
    assert kept
    task = type(first.worker.task)
    tokenize = task.prepare

    def small_alone(self, examples, *args, **kwargs):
        assert len(examples) < 3, "it was tokenized again"
        return tokenize(self, examples, *args, **kwargs)

    monkeypatch.setattr(task, "prepare", small_alone)
    second = assemble(job)
    for client, own in first.clients.items():
        for part in ("train", "validation", "test"):
            one, two = getattr(own, part), getattr(second.clients[client], part)
            assert torch.equal(one.tokens_T, two.tokens_T)
            assert [e.id for e in one.examples] == [e.id for e in two.examples]
    assert {file.name for file in token_folder().glob("*")} == kept
