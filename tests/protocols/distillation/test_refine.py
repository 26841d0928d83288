"""Public rows drawn by what clients tell of themselves."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from distilling import LEARN, class_data, class_job

from fedtailor.assembly import assemble, estimate
from fedtailor.errors import OffManifest, SettingError
from fedtailor.learning.distil import NO_LABEL
from fedtailor.messages import state_of
from fedtailor.messages.record import read
from fedtailor.protection import gate
from fedtailor.protocols.distillation import server
from fedtailor.protocols.distillation.messages import Said
from fedtailor.protocols.distillation.public_set import PublicSet
from fedtailor.protocols.distillation.refine import draw_rows, row_weights
from fedtailor.protocols.distillation.state import Taught
from fedtailor.records import Message
from fedtailor.running import run

REFINED = {"p_refine": "label-statistics", "p_refine_every": 2, "p_slice": 0.5, "p_label_counts": True, "p_label_epsilon": 1.0}


class Rows(SimpleNamespace):
    def __len__(self):
        return len(self.labels_N)


def public(labels, share=0.5):
    return PublicSet(shard=Rows(labels_N=torch.tensor(labels)), seed=0, share=share)


def told(**values):
    tensors = {
        name.replace("__", "/"): torch.tensor(value, dtype=torch.uint8 if "score" in name else torch.int64)
        for name, value in values.items()
    }
    return state_of(Taught, tensors)


def test_weights_by_hand():
    rows = public([0, 0, 1, NO_LABEL])
    # a score of q stands for (q + 0.5) / 256: 127 -> odds 127.5 / 128.5, 204 -> 204.5 / 51.5, 0 -> 0.5 / 255.5
    one, even, least = 204.5 / 51.5, 127.5 / 128.5, 0.5 / 255.5
    scores = {"scores__a": [204, 127, 127, 0], "scores__b": [204, 127, 204, 0]}
    np.testing.assert_allclose(row_weights(rows, told(**scores)), [one, even, (even + one) / 2, least])
    # counts (3, 1) and (0, 2), one more for each label: shares 4/8 and 4/8; the public set has 2/3 and 1/3: ratios 0.75 and 1.5
    counts = {"counts__a": [3, 1], "counts__b": [0, 2]}
    np.testing.assert_allclose(row_weights(rows, told(**counts)), [0.75, 0.75, 1.5, 1])
    both = row_weights(rows, told(**scores, **counts))
    np.testing.assert_allclose(both, [0.75 * one, 0.75 * even, 0.75 * (even + one), least])
    # a label that no public row has takes no share of the others: (5, 1) + 1 of the first two are 6/8 and 2/8
    np.testing.assert_allclose(row_weights(rows, told(counts__a=[5, 1, 90])), [0.75 * 1.5, 0.75 * 1.5, 0.75, 1])
    np.testing.assert_allclose(row_weights(public([NO_LABEL] * 3), told(**counts)), [1, 1, 1])


def test_rows_are_drawn_in_proportion_to_their_weights():
    rows = public([NO_LABEL] * 4, share=0.25)
    scores = told(scores__a=[204, 127, 127, 0])
    drawn = np.bincount([draw_rows(rows, scores, round=round)[0] for round in range(1, 801)], minlength=4) / 800
    np.testing.assert_allclose(drawn, row_weights(rows, scores) / row_weights(rows, scores).sum(), atol=0.05)
    many = public([NO_LABEL] * 100)
    once, again = (draw_rows(many, told(), round=round) for round in (1, 2))
    assert once == sorted(set(once)) == draw_rows(many, told(), round=1) != again
    assert len(once) == 50


def test_marks_report_which_rows_and_are_held_against_what_is_known():
    rows = public([0] * 10, share=0.3)
    marks = rows.mark([2, 3, 9])
    assert marks.tolist() == [0b00110000, 0b01000000]
    assert rows.rows(7, marks) == [2, 3, 9]
    for wrong in (
        rows.mark([2, 3]),
        torch.tensor([0b00110000], dtype=torch.uint8),
        torch.tensor([0b00110000, 0b00000001], dtype=torch.uint8),
    ):
        with pytest.raises(OffManifest, match=r"mark .* public examples"):
            rows.rows(7, wrong)


@pytest.fixture(scope="module")
def refined(tiny_bert_folder, tmp_path_factory):
    """Return a run of four rounds, its messages, and the same after a stop in each round."""
    said = []
    leave_client, leave_server = gate.Gate.leave_client, gate.Gate.leave_server
    home = tmp_path_factory.mktemp("refined")
    data = class_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedtailor.protocols.distillation.client.random.SystemRandom", lambda: random.Random(0))
        for rounds in (1, 2, 3, 4):
            where = {"out": home / "parts"} if rounds == 1 else {"resume": home / "parts"}
            run(class_job(tiny_bert_folder, stop__rounds=rounds, **REFINED), data=data, **where)
        patch.setattr(gate.Gate, "leave_client", lambda self, m, asked=None: said.append(("up", m)) or leave_client(self, m))
        patch.setattr(gate.Gate, "leave_server", lambda self, m: said.append(("down", m)) or leave_server(self, m))
        result = run(class_job(tiny_bert_folder, stop__rounds=4, **REFINED), data=data, out=home / "whole")
    return result, said, home


def test_scores_go_up_in_the_rounds_of_a_draw_and_rows_come_down_after_it(refined):
    result, said, _ = refined
    manifest = json.loads((result.folder / "manifest.json").read_text())
    scores = manifest["up"]["train"]["tensors"]["rows/scores"]
    assert (scores["dtype"], scores["shape"], scores["optional"]) == ("uint8", ["public_rows"], True)
    assert manifest["sizes"] == {"places": 15, "public_rows": 30, "public_row_bytes": 4}
    assert "label_counts" in manifest["up"]["train"]["facts"]
    up = [("rows/scores" in m.tensors, m.facts["version"]) for way, m in said if way == "up" and m.kind == "train"]
    assert sorted(up, key=lambda pair: pair[1]) == [
        (version in (0, 2), version) for version in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)
    ]
    down = {m.facts["version"]: {n: t.tolist() for n, t in m.tensors.items() if n.startswith("rows/")} for way, m in said if way == "down" and m.kind == "train"}  # fmt: skip
    assert down[0] == {}  # the first round's rows are drawn by the seed
    assert set(down[1]) == {"rows/now"}
    assert down[2] == {"rows/now": down[1]["rows/now"], "rows/before": down[1]["rows/now"]}  # two rounds of each draw
    assert down[3]["rows/before"] == down[1]["rows/now"] != down[3]["rows/now"]
    last = next(m for way, m in said if way == "down" and m.kind == "align")
    assert last.tensors["rows/before"].tolist() == down[3]["rows/now"]
    told = result.summary["distillation"]["public_set"]["refined"]
    assert told["scored_by"] == 3
    assert 0 < told["score_of_all"] < 1


def test_a_run_that_was_stopped_continues_to_the_same_bits(refined):
    result, _, home = refined
    names = [path.relative_to(result.folder) for path in sorted(result.folder.rglob("*.safetensors"))]
    assert any("checkpoint" in str(name) for name in names)
    assert all((result.folder / name).read_bytes() == (home / "parts" / name).read_bytes() for name in names)
    traffic = json.loads((home / "parts" / "summary.json").read_text())["traffic"]["by_kind"]["train"]
    assert traffic["down_bytes"] == result.summary["traffic"]["by_kind"]["train"]["down_bytes"]


def test_what_it_costs_is_estimated(refined, tiny_bert_folder):
    result, _, _ = refined
    cost, plain = (
        next(iter(estimate(assemble(class_job(tiny_bert_folder, stop__rounds=4, **changes), given=class_data())).values()))
        for changes in (REFINED, {name: value for name, value in REFINED.items() if "refine" not in name})
    )
    assert 30 / 2 < cost.up_bytes - plain.up_bytes < (30 + 100) / 2  # every second round, with name and form
    assert 4 * 5 / 4 < cost.down_bytes - plain.down_bytes < (4 + 100) * 5 / 4  # of four rounds three and two
    clients = pd.read_parquet(result.folder / "clients.parquet")
    assert cost.up_bytes == pytest.approx(clients["up_bytes"].mean(), abs=32)
    assert cost.down_bytes == pytest.approx(clients["down_bytes"].mean(), abs=8)
    by_round = clients.groupby("round")[["up_bytes", "forward_tokens"]].mean()
    assert (by_round.loc[[1, 3], "up_bytes"].to_numpy() > by_round.loc[[2, 4], "up_bytes"].to_numpy() + 30).all()
    assert by_round.loc[3, "forward_tokens"] > by_round.loc[2, "forward_tokens"]
    assert clients["train_flops"].mean() == pytest.approx(cost.train_flops, rel=0.1)


def test_scores_that_nobody_asked_for_are_no_use(refined, tiny_bert_folder):
    _, said, _ = refined
    parts = assemble(class_job(tiny_bert_folder, **REFINED), given=class_data())

    def fault(message, version):
        return server._fault(parts.protocol.terms, read(message, Said), version, marks=None)

    first = next(m for way, m in said if way == "up" and m.kind == "train" and m.facts["version"] == 0)
    assert fault(first, 0) is None
    short = Message(kind="train", facts=first.facts, tensors={**first.tensors, "rows/scores": first.tensors["rows/scores"][:-1]})
    assert fault(short, 0).mark == "OtherScores"
    none = Message(kind="train", facts={**first.facts, "examples": 0}, tensors=first.tensors)
    assert fault(none, 0).mark == "OtherWeight"  # entropy-weights would take its logarithm
    later = Message(kind="train", facts={**first.facts, "version": 1}, tensors=first.tensors)
    assert fault(later, 1).mark == "OtherScores"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"p_slice": 1.0}, "slice: 1.0 leaves nothing to choose; set slice: 0.5"),
        ({"p_refine_every": 0}, "refine_every is a number of rounds"),
        ({"p_refine": "scores"}, "protocol.refine"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, why):
    with pytest.raises(SettingError, match=why):
        class_job("b", **(REFINED | wrong))


def test_label_counts_must_be_reported_with_noise(tiny_bert_folder):
    for changes in ({"p_label_epsilon": None}, {"p_label_epsilon": None, "p_label_counts": False}):
        with pytest.raises(
            SettingError, match=r"noised label counts, which are not reported; set label_counts: true and label_epsilon: 1"
        ):
            assemble(class_job(tiny_bert_folder, p_local=LEARN, **(REFINED | changes)), given=class_data())
