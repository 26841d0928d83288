"""Public examples that are not public."""

import json

import pytest
from distilling import class_data, class_job

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError


@pytest.mark.parametrize("private", [0, 7, 30])
def test_training_rows_of_clients_in_the_public_file_are_named_and_all_of_them_refused(tiny_bert_folder, tmp_path, private):
    train = class_data()["train"][:60]
    file = tmp_path / "public.jsonl"
    fresh = [{**row, "text": f"somebody said: {row['text']}"} for row in train[: 30 - private]]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*train[:private], *fresh]))
    job = class_job(tiny_bert_folder, p_public=str(file), data__limit={})
    said = []
    if private == 30:
        with pytest.raises(SettingError, match=f"all 30 inputs of {file} are rows of clients"):
            assemble(job, given={"train": train}, warn=said.append)
        return
    assemble(job, given={"train": train}, warn=said.append)
    assert [text for text in said if "everybody sees them" in text] == (
        [f"{private} of 30 public inputs are rows of clients too, and everybody sees them; leave them out of one of the two"]
        if private
        else []
    )
