"""A network on this machine as people run it: the commands for server and sites in processes of their own, on a tiny job."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from fedtailor import Job
from fedtailor.network.command.world import World, make_world, wait_until_up
from fedtailor.network.kit.engine_settings import SERVER

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import save_tiny
from jobs import tiny_rows

SITES = ("site-1", "site-2")
PROTOCOLS: dict[str, dict[str, Any]] = {
    "averaging": {"protocol": {"kind": "averaging"}, "personalization": {"kind": "ditto"}},
    "distillation": {"protocol": {"kind": "distillation", "public": "public.jsonl"}},
    "split": {"protocol": {"kind": "split", "cut": 1}},
}


def tiny_job(folder: Path, protocol: str = "averaging", *, rounds: int = 6, steps: int = 12) -> Job:
    """Write a tiny model and two sites' data into `folder` and return a job on them, one thread a process."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = {**sizes, "num_key_value_heads": 1, "max_position_embeddings": 256, "tie_word_embeddings": True}
    save_tiny(folder / "tiny-llama", lambda ids: LlamaForCausalLM(LlamaConfig(**config, **ids)))
    rows = tiny_rows()
    for number, site in enumerate(SITES):
        write_rows(folder / f"{site}.jsonl", rows[number :: len(SITES)])
    write_rows(folder / "public.jsonl", [{"input": f"near[{place}]", "target": f"It is near {place}."} for place in "abcdefgh"])
    settings = {
        "name": f"tiny-{protocol}",
        "base": str(folder),
        "backbone": "tiny-llama",
        "task": {"kind": "generation"},
        "data": {"train": [f"{site}.jsonl" for site in SITES]},
        "clients": {"partition": "files", "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
        "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
        "evaluation": {"generate": {"max_new_tokens": 4}},
        "stop": {"rounds": rounds, "patience": None, "keep": "last"},
        "precision": "float32",
        "threads": 1,
        **PROTOCOLS[protocol],
    }
    settings["protocol"] |= {"local": {"learning_rate": 0.02, "batch_size": 4, "steps": steps}}
    return Job.from_dict(settings)


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write examples as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class Net:
    """The commands of a network: each can be started, killed and started again."""

    def __init__(self, world: World) -> None:
        """Take a network whose kits are made."""
        self.world = world
        self._commands: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Run the command of the server or of a site."""
        kit = str(self.world.folder / name)
        words = ["net", "serve", kit] if name == SERVER else ["site", "join", kit]
        with (self.world.folder / f"{name}.out").open("ab") as log:
            self._commands[name] = subprocess.Popen(
                [sys.executable, "-m", "fedtailor.cli", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """Kill the command and all that it started, as if the machine lost its power."""
        command = self._commands.pop(name)
        for process in [psutil.Process(command.pid), *self.processes(name)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        command.wait()

    def processes(self, name: str, module: str = "") -> list[psutil.Process]:
        """Return the processes that the command of `name` started, or of these those that run `module`."""
        try:
            below = psutil.Process(self._commands[name].pid).children(recursive=True)
        except (KeyError, psutil.NoSuchProcess):
            return []
        return [process for process in below if not module or any(word.endswith(module) for word in _words(process))]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all commands inside the block."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that the commands are ended, too
        try:
            for name in (SERVER, *self.world.network.sites):
                self.start(name)
            wait_until_up(self.world)
            yield
        finally:
            self._stop()

    def _stop(self) -> None:
        """End all commands, sites first."""
        for name in sorted(self._commands, key=lambda name: name == SERVER):
            self._commands[name].send_signal(signal.SIGTERM)
        for command in self._commands.values():
            command.wait()


@contextmanager
def network(job: Job, folder: Path) -> Iterator[Net]:
    """Run a server and the sites of a job by the commands that people type."""
    net = Net(make_world(job, folder))
    with net.running():
        yield net


def adapter(run: Path) -> dict[str, Any]:
    """Return the tensors that a run ended with."""
    return load_file(run / "adapter" / "adapter_model.safetensors")


def same_files(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Return whether two sets of tensors are equal, bit for bit."""
    return one.keys() == two.keys() and all(bool((one[name] == two[name]).all()) for name in one)


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words
