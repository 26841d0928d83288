"""The cells of a sweep."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.errors import SettingError
from fedtailor.studies.cell_names import cell_name
from fedtailor.studies.grid import make_grid, read_axis, split_values


@pytest.fixture
def job(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("backbone: none\ntask: {kind: generation}\ndata: {train: a.jsonl}\n")
    return file


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0,1,2", (0, 1, 2)),
        ("protocol.local.learning_rate=1e-3,1e-4", (1e-3, 1e-4)),
        ("stop.patience=null", (None,)),
        ("tuning.targets=[q, v],[c_attn],null", (["q", "v"], ["c_attn"], None)),
        ("tuning={kind: lora, rank: 2},{kind: full}", ({"kind": "lora", "rank": 2}, {"kind": "full"})),
        ('task.template="{input}, {target}",plain', ("{input}, {target}", "plain")),
        ("clients.partition.by=input[eatType],input[name]", ("input[eatType]", "input[name]")),
    ],
)
def test_values_are_parted_by_commas_outside_of_brackets(text, values):
    assert read_axis(text).values == values


@given(st.lists(st.lists(st.integers(), max_size=3) | st.integers() | st.booleans(), min_size=1, max_size=5))
def test_written_values_are_read_back(values):
    written = ",".join(yaml.safe_dump(value, default_flow_style=True).splitlines()[0] for value in values)
    assert [yaml.safe_load(part) for part in split_values(written)] == values


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["tuning.rank"], "is not an override"),
        (["tuning.rank=2,,4"], "empty value"),
        (["seed="], "empty value"),
        (["seed=1,1"], "1 twice"),
        (["seed=1", "seed=2"], "seed is given twice"),
        ([], "needs a setting"),
        (["tuning.rank=2,0"], "the cell tuning.rank=0 is no job.*tuning.rank is a whole number"),
        (["tuning.rnak=2"], "did you mean tuning.rank"),
    ],
)
def test_what_is_no_grid_is_refused_before_any_work(job, settings, said):
    with pytest.raises(SettingError, match=said):
        make_grid(job, settings)


def test_the_first_setting_changes_slowest(job):
    axes, cells = make_grid(job, ["tuning.rank=2,4", "seed=0,1"], ["central"])
    assert [axis.name for axis in axes] == ["tuning.rank", "seed"]
    assert [cell.name for cell in cells if cell.run == "federated"] == [
        "tuning.rank=2_seed=0", "tuning.rank=2_seed=1", "tuning.rank=4_seed=0", "tuning.rank=4_seed=1",
    ]  # fmt: skip
    assert [(c.job.tuning.rank, c.job.seed, c.run) for c in cells[:3]] == [
        (2, 0, "federated"),
        (2, 0, "central"),
        (2, 1, "federated"),
    ]
    assert cells[1].name == "tuning.rank=2_seed=0_central"


def test_settings_of_one_value_are_in_no_name_where_others_have_several(job):
    for settings, names in (
        (["data.train=b.jsonl", "tuning.rank=2,4", "seed=3"], ["tuning.rank=2", "tuning.rank=4"]),
        (["tuning={kind: lora, rank: 2}", "seed=0,1"], ["seed=0", "seed=1"]),
        (["data.train=b.jsonl", "seed=3"], ["data.train=b.jsonl_seed=3"]),
    ):
        assert [cell.name for cell in make_grid(job, settings)[1]] == names
    _, cells = make_grid(job, ["data.train=b.jsonl", "protocol.aggregation=fedavg,fedadam"], ["central"])
    assert [cell.name for cell in cells if cell.run == "central"] == ["central"]
    with pytest.raises(SettingError, match=r"the cell tuning\.rank=0 is no job"):
        make_grid(job, ["data.train=b.jsonl", "tuning.rank=2,0"])


def test_names_of_cells_are_short_plain_and_distinct():
    values = [
        {"kind": "skew", "share": 0.4},
        {"kind": "skew", "share": 0.8},
        "a/b",
        "a b",
        ["a", "b"],
        "x" * 300,
        "x" * 301,
        None,
    ]
    names = [cell_name({"clients.partition": value}) for value in values]
    assert len(set(names)) == len(names)
    assert all(len(name) < 200 and "/" not in name and " " not in name for name in names)
    assert len(cell_name({f"section.setting{i}": i for i in range(40)})) <= 150


def test_a_baseline_that_a_setting_does_not_change_runs_once(job):
    _, cells = make_grid(job, ["protocol.aggregation=fedavg,fedadam", "seed=0,1"], ["central", "local"])
    assert [cell.name for cell in cells if cell.run != "federated"] == [
        "seed=0_central", "seed=0_local", "seed=1_central", "seed=1_local",
    ]  # fmt: skip
    assert [cell.settings for cell in cells if cell.run == "local"] == [
        {"protocol.aggregation": None, "seed": 0},
        {"protocol.aggregation": None, "seed": 1},
    ]
    for setting in ("protocol.wire=float32,bfloat16", "protocol.quorum=0.5,1.0", "personalization=none,finetune"):
        assert [cell.name for cell in make_grid(job, [setting], ["central"])[1] if cell.run == "central"] == ["central"]
    for setting in ("tuning.rank=2,4", "protocol.local.learning_rate=1e-3,1e-2", "stop.rounds=1,2"):  # these change it
        assert len([cell for cell in make_grid(job, [setting], ["central"])[1] if cell.run == "central"]) == 2


def test_cells_of_sections_are_named_by_what_differs(job):
    same = "local: {steps: 2, learning_rate: 0.1, optimizer: sgd"
    swept = f"protocol={{aggregation: fedavg, {same}}}}},{{aggregation: fedavg, {same}, proximal: 0.1}}}},{{aggregation: scaffold, {same}}}}}"
    _, cells = make_grid(job, [swept])
    assert [cell.labels["protocol"] for cell in cells] == [
        "aggregation=fedavg, local.proximal=0.0",  # left out: the default
        "aggregation=fedavg, local.proximal=0.1",
        "aggregation=scaffold, local.proximal=0.0",
    ]
    assert cells[1].name == "protocol=aggregation=fedavg,local.proximal=0.1"
    _, cells = make_grid(job, ["tuning={kind: lora, rank: 2},{kind: full}"])
    assert [cell.labels["tuning"] for cell in cells] == ["lora, rank=2", "full"]
