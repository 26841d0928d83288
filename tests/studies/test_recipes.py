"""Every recipe is a job that runs, and says of each setting whose it is."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from denoisers import write_denoiser

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError
from fedtailor.job import Job
from fedtailor.running import run
from fedtailor.studies import prepared
from fedtailor.studies.arms import make_arms
from fedtailor.studies.baselines import run_baseline
from fedtailor.studies.grid import make_grid
from fedtailor.studies.nested import flat, merge
from fedtailor.studies.recipes import ASSUMED, PAPER, SMALL, TINY, YOURS, load_recipe, recipe_names

NAMES = recipe_names()
STUDIES = (  # whose cells are many: each arm is assembled here
    "fedgen-edge-comparison",
    "framework-comparison-clinc150",
    "framework-comparison-pubmedqa",
    "least-data",
    "prefix-alignment",
    "rank-and-epochs",
    "several-tasks",
    "sizes",
    "stale-backbone",
)
OF_UNLIKE_PROTOCOLS = ("six-techniques",)  # whose arms are run in a file of their own
RUNS = [
    pytest.param(
        name, arm, marks=[pytest.mark.large] if load_recipe(name).data == "cifar10" and arm not in ("LoRA", "FedPer") else []
    )
    for name in NAMES
    if name not in (*STUDIES, *OF_UNLIKE_PROTOCOLS)
    for arm in load_recipe(name).arms or [None]
]
SMALL_RUN = (
    "fpt-e2e",
    "ffft-e2e",
    "fat-e2e",
    "fpt-dart",
    "framework-comparison",
    "framework-comparison-e2e",
    "framework-comparison-smollm2",
    "fpt-comparison",
    "fedgen-edge-ptb",
    "fedgen-edge-ptb-full",
)  # their figures are in docs/results.md
MEASURED = "small: run here (docs/results.md); paper: not run here"
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
PLACES = ("river", "park", "station", "museum")  # that the texts of conftest name


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Keep what recipes prepare out of the user's cache, and make no model for it."""
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    nothing = {name: ((), lambda folder, data, count: None) for name in ("blocks", "tuned-on-ptb")}
    monkeypatch.setattr(prepared, "MAKERS", {**prepared.MAKERS, **nothing})


@pytest.fixture
def no_encoder(monkeypatch):
    """Put vectors that are quick to make in the place of MiniLM's."""
    monkeypatch.setattr(
        "fedtailor.models.embed.embed_texts",
        lambda texts: np.array([[float(word in text) for word in PLACES] + [len(text) / 100] for text in texts]),
    )


def tiny(recipe, data, backbone, variant, arm=None):
    """Return a variant with a tiny backbone of two blocks and 2 rounds; the small one loses what its real backbone has a name for."""
    changes = [f"backbone={backbone}", "stop.rounds=2", "threads=1", "precision=float32", "evaluation.generate.max_new_tokens=2"]
    changes += ["evaluation.generate.beams=1", "clients.count=10", "clients.min_examples=2", "data.limit={train: 100}"]
    changes += ["protocol.cut=1"] if arm and "cut" in recipe.settings(arm=arm)["protocol"] else []
    changes += ["task.block=16", "clients.partition.topics=3"] if recipe.data == "ptb" else []
    if recipe.data == "cifar10":
        changes = [change for change in changes if "generate" not in change]
        changes += [
            "evaluation.metrics=[loss]",
            "evaluation.features=none",
            "evaluation.samples={steps: 1, grid: [1, 2]}",
            "data.limit={}",
        ]
    return recipe.make_job(variant, data, changes, arm=arm)


@pytest.fixture(scope="session")
def cifar_unet_folder(tmp_path_factory):
    return write_denoiser(tmp_path_factory.mktemp("cifar") / "unet", labels=tuple(CIFAR), size=32)


@pytest.mark.few(6)
@pytest.mark.usefixtures("no_encoder")
@pytest.mark.parametrize(("name", "arm"), RUNS)
def test_the_paper_variant_runs_on_a_tiny_backbone(name, arm, data, tmp_path, request):
    recipe = load_recipe(name)
    backbone = request.getfixturevalue("tiny_gpt2_folder" if recipe.data != "cifar10" else "cifar_unet_folder")
    job = tiny(recipe, data, backbone, "paper", arm)
    baseline = recipe.arms[arm].baseline if arm else recipe.baseline
    if baseline == "local":
        job = job.replace("clients.count", 2)
    done = run_baseline(job, baseline, out=tmp_path / "r") if baseline else run(job, out=tmp_path / "r")
    assert done.summary["rounds"] == 2
    assert done.summary["metrics_over"] == "test set"
    assert np.isfinite(done.summary["metrics"]["after"]["loss"])
    assert ("bleu" in done.summary["metrics"]["after"]) == (recipe.data not in ("ptb", "banking77", "cifar10"))
    assert done.summary["memory"]["client_estimated_bytes"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_small_variant_is_a_job(name, data, tiny_backbone_folder):
    job = tiny(load_recipe(name), data, tiny_backbone_folder, "small")
    assert job.name == f"{name}-small"
    limit = load_recipe(name).make_job("small", data).data.limit
    assert (
        limit["train"] <= 2000 if load_recipe(name).data != "cifar10" else limit["test"] <= 1000
    )  # steps, not pictures, bound its rounds


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_the_papers_or_assumed_with_a_note_that_is_of_use(name):
    recipe = load_recipe(name)
    assert {line.whose for line in recipe.lines()} == {PAPER, ASSUMED}
    silent = [line.setting for line in recipe.lines() if not line.note]
    assert silent == []
    own = recipe.arm_lines()
    assert {line.whose for line in own} <= {PAPER, ASSUMED}
    assert [line.setting for line in own if not line.note] == []
    leaves = {leaf for arm in (None, *recipe.arms) for leaf in flat(recipe.settings(arm=arm))}
    assert [note for note in recipe.notes if not any(f"{leaf}.".startswith(f"{note}.") for leaf in leaves)] == []
    assert all(re.search(r"\[[SA]\]", line.note) for line in recipe.lines() if line.whose == PAPER)
    assert all(re.search(r"\[[SA]\]", text) for text in recipe.reports)
    assert recipe.status == (MEASURED if name in SMALL_RUN else "not run here")


@pytest.mark.few(6)
@pytest.mark.parametrize("variant", ["paper", "small"])
@pytest.mark.parametrize("name", [name for name in NAMES if load_recipe(name).arms])
def test_every_cell_of_a_comparison_is_a_job_of_its_own(name, variant, data):
    axes, cells = make_arms(load_recipe(name), variant, data)
    assert axes[0].values == tuple(load_recipe(name).arms)
    assert len({tuple(map(str, cell.settings.values())) for cell in cells}) == len({cell.name for cell in cells}) == len(cells)
    assert all(cell.job.evaluation.metrics is None or load_recipe(name).metric in cell.job.evaluation.metrics for cell in cells)


@pytest.mark.usefixtures("no_encoder")
@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_of_a_study_is_accepted_in_tiny_form(name, data, tiny_gpt2_folder):
    recipe = load_recipe(name)
    recipe.prepare("paper", data)
    _, cells = make_arms(recipe, "paper", data)
    first = {cell.settings["arm"]: cell.job for cell in reversed(cells)}
    assert set(first) == set(recipe.arms)
    for job in first.values():
        parts = assemble(tiny_form(job, tiny_gpt2_folder))
        assert all(parts.clients[client].train for client in parts.clients)
        assert len(parts.server_test) or job.clients.test_share


def tiny_form(job, backbone):
    """Return a job with a tiny backbone of two blocks and few rows."""
    changes = {"backbone": str(backbone), "precision": "float32", "data.limit": {"train": 60}, "clients.min_examples": 1}
    changes |= {"tuning.targets": None} if hasattr(job.tuning, "targets") else {}
    changes |= {"clients.count": 5, "clients.partition.topics": 3} if job.clients.partition.kind == "topic" else {}
    changes |= {"task.block": 16} if hasattr(job.task, "block") else {"task.max_tokens": 60}
    changes |= {"protocol.cut": 1} if hasattr(job.protocol, "cut") else {}
    changes |= {"protocol.public_limit": 10} if hasattr(job.protocol, "public_limit") else {}
    changes |= {"personalization.home": ["*.h.1.*"]} if hasattr(job.personalization, "home") else {}
    for setting, value in changes.items():
        job = job.replace(setting, value)
    return job


def test_what_is_prepared_is_made_once_of_the_data(data, tmp_path):
    folder = prepared.prepare("abstracts", data)
    train = pd.read_parquet(folder / "train.parquet")
    assert train["text"][1] == "The shop 2 is near the station.\nQuestion: Is the shop 2 near?"
    assert (train["label"][1], train["target"][1], train["year"][1]) == (2, "maybe", "2012")
    assert len(train) == len(pd.read_parquet(folder / "test.parquet")) == 80
    stamp = (folder / "train.parquet").stat().st_mtime_ns
    assert prepared.prepare("abstracts", data) == folder
    assert (folder / "train.parquet").stat().st_mtime_ns == stamp
    assert prepared.with_prepared({"a": ["prepared:abstracts/train.parquet", 1]}, data) == {
        "a": [str(folder / "train.parquet"), 1]
    }
    assert set(pd.read_parquet(prepared.prepare("tasks", data) / "intents.parquet")["target"]) == set(PLACES)
    assert prepared.names_in(["backbone=prepared:blocks-8,prepared:blocks-16", {"a": "prepared:tasks/e2e.parquet"}]) == [
        "blocks-16",
        "blocks-8",
        "tasks",
    ]
    with pytest.raises(
        SettingError,
        match="no such preparation; there are abstracts, tasks, blocks, conclusions, questions, cifar-unet, tuned-on-ptb",
    ):
        prepared.prepare("abstract", data)
    with pytest.raises(SettingError, match=r"there is no .*questions\.parquet, which prepared:abstracts is made of"):
        prepared.prepare("abstracts", tmp_path)


@pytest.mark.parametrize(("name", "sweep"), [(name, sweep) for name in NAMES for sweep in load_recipe(name).sweeps])
def test_every_grid_can_be_swept(name, sweep, data, tmp_path):
    recipe = load_recipe(name)
    file = tmp_path / "job.yaml"
    file.write_text(recipe.make_job("paper", data).to_yaml())
    words = shlex.split(recipe.sweeps[sweep])
    axes, cells = make_grid(file, [word for word in words if "=" in word])
    assert len(cells) == np.prod([len(axis.values) for axis in axes])
    assert len({cell.name for cell in cells}) == len(cells)


def test_what_is_known_of_the_papers_is_what_is_set():
    fpt, edge = load_recipe("fpt-e2e").settings(), load_recipe("fedgen-edge-ptb").settings()
    assert (fpt["clients"]["count"], fpt["tuning"]["length"], fpt["protocol"]["local"]["epochs"], fpt["stop"]["patience"]) == (
        10, 10, 1, 3,
    )  # fmt: skip
    assert (edge["clients"]["fraction"], edge["protocol"]["local"]["epochs"], edge["tuning"]["rank"]) == (0.1, 5, 8)
    assert edge["clients"]["partition"]["alpha"] == 0.3
    assert load_recipe("ffft-dart").settings()["tuning"] == {"kind": "full"}
    assert load_recipe("fat-dart").settings()["protocol"]["local"] == {
        "epochs": 1, "batch_size": 5, "optimizer": "adamw", "learning_rate": 1e-4,
    }  # fmt: skip


def test_what_is_changed_is_said_to_be():
    recipe = load_recipe("fpt-e2e")
    lines = {line.setting: line for line in recipe.lines("small", ["tuning.length=5"])}
    assert lines["tuning.length"][1:] == ("5", YOURS, "10 in the recipe")
    assert lines["backbone"][1:] == ("smollm2-135m", SMALL, "openai-community/gpt2-medium in the paper variant")
    assert lines["tuning.hidden"].whose == ASSUMED
    assert lines["clients.count"].whose == PAPER


def test_the_tiny_variant_changes_the_small_one():
    recipe = load_recipe("six-techniques")
    lines = {line.setting: line for line in recipe.lines("tiny", ["stop.rounds=3"])}
    assert lines["backbone"][1:] == ("prepared:blocks-4", TINY, "smollm2-135m in the small variant")
    assert lines["stop.rounds"][1:] == ("3", YOURS, "1 in the recipe")
    assert (recipe.seeds_of("tiny"), recipe.seeds_of("small")) == ([0], [0, 1, 2])


def test_a_comparison_that_extends_another_has_its_arms_and_changes_some():
    first, deep = load_recipe("framework-comparison"), load_recipe("framework-comparison-smollm2")
    assert list(deep.arms) == list(first.arms)
    assert (deep.seeds, deep.metric, deep.crossover) == (first.seeds, first.metric, first.crossover)
    for arm in first.arms:
        assert deep.lines("paper", arm=arm) == first.lines("paper", arm=arm)
        assert deep.arms[arm].cells == first.arms[arm].cells
    assert deep.arms["FedLLMs"] == first.arms["FedLLMs"]
    assert list(deep.arms["Split-FedLLMs"].grids("small")) == ["protocol.cut=1,8,15,22,30"]
    rates = {deep.settings("small", arm=arm)["protocol"]["local"]["learning_rate"] for arm in deep.arms}
    assert rates == {deep.small["protocol"]["local"]["learning_rate"]}


def test_a_comparison_on_other_data_keeps_of_its_notes_what_still_holds():
    recipe = load_recipe("framework-comparison-e2e")
    assert list(recipe.arms) == ["FedLLMs", "KD-FedLLMs", "KD-top-k", "Split-FedLLMs", "Split-int8", "central", "local-only"]
    assert recipe.note("protocol.temperature") == (ASSUMED, "not known; 1 to 4 are usual [M]")  # of an arm alone
    assert recipe.note("data.train")[0] == ASSUMED  # Banking77 is the paper's, and this is not
    assert recipe.settings("small", arm="KD-FedLLMs")["protocol"].get("top_k") is None


def test_a_kind_takes_the_place_of_another():
    assert merge({"a": {"kind": "x", "b": 1}, "c": {"d": 1}}, {"a": {"kind": "y"}, "c": {"e": 2}}) == {
        "a": {"kind": "y"}, "c": {"d": 1, "e": 2},
    }  # fmt: skip


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(SettingError, match="did you mean fpt-e2e"):
        load_recipe("ftp-e2e")
    with pytest.raises(SettingError, match="paper or small or tiny"):
        load_recipe("fpt-e2e").settings("large")
    with pytest.raises(SettingError, match="fpt-e2e has no tiny variant; choose paper or small"):
        load_recipe("fpt-e2e").settings("tiny")
    with pytest.raises(SettingError, match=r"e2e/train\.parquet"):
        load_recipe("fpt-e2e").make_job("paper", tmp_path / "no")
    assert Job.from_dict(load_recipe("fpt-e2e").settings(), base=tmp_path).name == "fpt-e2e-paper"
