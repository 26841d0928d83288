"""Protocols on tiny models, with what their clients say in each phase of a run."""

from collections.abc import Callable
from typing import Any

import pytest
from asked import documents, retrieval_job
from denoisers import gan_folder, gan_job, picture_job, picture_rows, unet_folder  # noqa: F401  fixtures
from distilling import class_data, class_job
from jobs import tiny_job, tiny_rows
from of_tasks import of_tasks, of_three
from prompted import place_rows, prompting_job
from questioned import pairs, training_job
from replays import Phases
from split_shapes import save_family, split_parts

from fedtailor.assembly import Parts, assemble
from fedtailor.phases import PHASES

LIVE = ("retrieval", "reading")
ONE = {"clients__count": 3, "stop__rounds": 1}


@pytest.fixture(scope="session")
def phases_of(tmp_path_factory, tiny_backbone_folder, tiny_bert_folder, unet_folder, gan_folder):  # noqa: F811
    """Return the recorded phases of a registered protocol, or of a variant of one; made when they are asked for."""
    made: dict[str, Phases] = {}

    def tiny(**changes: Any) -> Parts:
        return assemble(tiny_job(tiny_backbone_folder, **ONE, **changes), given=tiny_rows())

    def distilled() -> Parts:
        job = class_job(tiny_bert_folder, p_label_counts=True, p_wire="int8", p_top_k=2, stop__rounds=1)
        return assemble(job, given=class_data())

    def split() -> Parts:
        folder = save_family("gpt2", tmp_path_factory.mktemp("families"))
        return split_parts(folder, "gpt2", local={"steps": None}, changes={"stop__rounds": 1})

    def split_once() -> Parts:
        tuning = {"kind": "lora", "rank": 2, "alpha": 4, "targets": ["layers.1.self_attn.q_proj"]}  # behind the cut
        once = {"labels": "with-server", "reuse": True, "wire": "int8", "cut": 1, "changes": {"tuning": tuning}}
        return split_parts(tiny_backbone_folder, "llama", **once)

    numbered = ("client-00", "client-01", "client-02")
    auto = {"kind": "lora", "rank": "auto", "ranks": [1, 2, 4], "alpha": 4}
    ranks = {"client-00": {"tuning": {"rank": 1}}}
    black_box = {"protocol__method": {"kind": "black-box", "length": 2, "dimensions": 6, "population": 6, "examples": 4}}
    shapes: dict[str, Callable[[], Parts]] = {  # of protocols that do not run as `protocol: {kind: NAME}` alone
        "averaging": lambda: tiny(personalization="finetune", evaluation__local_only=True),
        "after": lambda: tiny(after=[*PHASES, "phased:GapPhase"]),
        "ranks": lambda: tiny(protocol__aggregation={"kind": "flexlora"}, clients__overrides=ranks),
        "tasks": lambda: assemble(
            of_tasks(tiny_backbone_folder, numbered, stop__rounds=1, personalization="finetune"), given=of_three(numbered)
        ),
        "auto-ranks": lambda: tiny(protocol__aggregation={"kind": "flexlora"}, tuning=auto),
        "distillation": distilled,
        "split": split,
        "split-reuse": split_once,
        "prompting": lambda: assemble(prompting_job(tiny_backbone_folder), given=place_rows()),
        "retrieval": lambda: assemble(retrieval_job(tiny_bert_folder), given=documents()),
        "reading": lambda: assemble(retrieval_job(tiny_bert_folder, protocol__share="answers"), given=documents()),
        "questions": lambda: assemble(training_job(tiny_bert_folder, **ONE), given=pairs()),
        "pictures": lambda: assemble(picture_job(unet_folder, personalization="finetune", stop__rounds=1), given=picture_rows()),
        "gan": lambda: assemble(gan_job(gan_folder, task__discriminator="averaged", stop__rounds=1), given=picture_rows()),
        "coded": lambda: tiny(protection=["codec"]),
        "black-box": lambda: assemble(prompting_job(tiny_backbone_folder, **black_box), given=place_rows()),
    }

    def of(name: str) -> Phases:
        if name not in made:
            made[name] = Phases(shapes.get(name, lambda: tiny(protocol={"kind": name}))(), live=name in LIVE)
        return made[name]

    return of
