"""What a user is told when a job is put together, and what is put back in order for the next one."""

import torch

from fedtailor.assemble import USUAL_THREADS, assemble


def test_threads_that_one_job_chose_do_not_hold_for_the_next(make_job, rows):
    assemble(make_job(threads=1), given=rows)
    assert torch.get_num_threads() == 1
    assemble(make_job(threads="auto"), given=rows)
    assert torch.get_num_threads() == USUAL_THREADS


def test_inputs_on_both_sides_and_examples_left_out_are_told(make_job, rows):
    said = []
    assemble(
        make_job(), given={"train": [*rows, rows[0]], "test": [rows[1], {**rows[2], "input": "name[New]"}]}, warn=said.append
    )
    assert [text for text in said if "stand in the training data too" in text] == [
        "1 inputs of the test file stand in the training data too: its figures flatter the model"
    ]
    assert [text.split(":")[0] for text in said if "left out" in text] == ["1 training examples are left out"]


def test_what_the_job_itself_leaves_out_is_no_news(make_job, rows):
    said = []
    assemble(make_job(data__limit={"train": 32}), given=rows, warn=said.append)
    assert not [text for text in said if "left out" in text]
