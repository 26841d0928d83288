import errno
import gzip
import json
import ssl
import struct
import zlib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError

from fedtailor.causes import UNKNOWN, cause_of, detail_of
from fedtailor.known_causes import RULES
from fedtailor.storage import StorageError, writing


def caught(work):
    try:
        work()
    except BaseException as fault:
        return fault
    raise AssertionError("it did not fail")


def deep():
    return deep()


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (MemoryError(), "memory"),
        (caught(lambda: torch.empty(1 << 60)), "memory"),  # a RuntimeError
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk full"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "name too long"),
        (RuntimeError("can't start new thread"), "threads"),
        (ssl.SSLCertVerificationError("certificate verify failed"), "certificate"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "network"),
        (TimeoutError("timed out"), "timeout"),
        (caught(Path("/no/such/file").read_text), "missing"),
        (caught(Path("/").read_text), "wrong kind of file"),
        (caught(lambda: __import__("no_such_package_at_all")), "import"),
        (caught(lambda: exec("from json import nothing")), "version"),
        (caught(deep), "nesting"),
        (caught(lambda: json.loads("[" * 100_000)), "nesting"),
        (caught(lambda: compile("a b", "f", "exec")), "code"),
        (caught(lambda: json.loads("{")), "damaged"),
        (caught(b"\xff".decode), "damaged"),
        (caught(lambda: yaml.safe_load("[")), "damaged"),
        (caught(lambda: gzip.decompress(b"no gzip")), "damaged"),
        (caught(lambda: zlib.decompress(b"nothing")), "damaged"),
        (caught(lambda: struct.unpack("<Q", b"short")), "damaged"),
        (SafetensorError("Error while deserializing header: header too large"), "damaged"),
        (caught(lambda: float(10**400)), "number"),
        (caught(lambda: int("9" * 5000)), "number"),
        (KeyError("what"), UNKNOWN),
        (ValueError("some value"), UNKNOWN),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_each_fault_has_its_cause(fault, name):
    cause = cause_of(fault, "folder models/a")
    assert cause.name == name
    assert cause.sentence.startswith("folder models/a: ")
    assert type(fault).__name__ in cause.sentence
    assert str(cause) == f"{cause.sentence}; {cause.advice}"


def test_what_it_was_raised_from_counts():
    def work():
        try:
            json.loads("{")
        except ValueError as fault:
            raise OSError("cannot load the configuration") from fault

    assert cause_of(caught(work), "a").name == "damaged"
    hidden = OSError("cannot load")
    hidden.__context__, hidden.__suppress_context__ = MemoryError(), True  # raise … from None
    assert cause_of(hidden, "a").name == UNKNOWN
    circle = ValueError("a")
    circle.__cause__ = circle
    assert cause_of(circle, "a").name == UNKNOWN


def test_what_a_fault_says_is_one_short_line_without_control_characters():
    assert detail_of(ValueError("a\n\tb\x1b[31m c\x00")) == "ValueError: a b [31m c"
    assert detail_of(ValueError()) == "ValueError"
    assert detail_of(ValueError("See README.md..")) == "ValueError: See README.md"
    assert len(detail_of(ValueError("x" * 10_000))) < 400

    class Broken(Exception):
        def __str__(self):
            raise KeyError

    assert detail_of(Broken()) == "Broken"


def test_sentences_continue_behind_what_a_cause_advises():
    for rule in RULES:
        assert rule.what[-1].isalnum(), rule.name
        assert rule.advice[-1] not in ".?!;,", rule.name
    with pytest.raises(StorageError) as caught_, writing(Path("runs/r")):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert str(caught_.value).endswith("moved, renamed or deleted. What is saved so far is whole")


def test_names_are_distinct():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
