"""Pictures come in folders, in Parquet, in .npz files and from memory; damaged ones are named."""

import numpy as np
import pandas as pd
import pytest
from denoisers import picture_rows
from PIL import Image

from fedtailor.data import Clients, Data, divide
from fedtailor.errors import DataError
from fedtailor.pictures import picture_of

READS = {"required": ("image", "label"), "optional": (), "context": (), "key": "image"}
CLIENTS = Clients(count=2, min_examples=2)


def divided(train, base, missing="error", **data):
    return divide(Data(train=train, missing=missing, **data), CLIENTS, base=base, seed=0, **READS)


def whole(found):
    parts = (found.train, found.validation, found.test)
    return {(e.fields["image"].sha256, str(e.fields["label"])) for part in parts for own in part.values() for e in own}


def folder(base, rows, name="pictures"):
    for number, row in enumerate(rows):
        place = base / name / row["label"] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row["image"]).save(place)
    return base / name


@pytest.fixture
def rows():
    return picture_rows(each=4)


def test_every_form_means_the_same(tmp_path, rows):
    (folder(tmp_path, rows) / "labels.json").write_text("[]")
    pictures = [picture_of(row["image"]).content for row in rows]
    labels = [row["label"] for row in rows]
    pd.DataFrame({"image": pictures, "label": labels}).to_parquet(tmp_path / "bytes.parquet")
    pd.DataFrame({"image": [{"bytes": one, "path": "x.png"} for one in pictures], "label": labels}).to_parquet(
        tmp_path / "hub.parquet"
    )
    np.savez(tmp_path / "arrays.npz", image=np.stack([row["image"] for row in rows]), label=labels)
    found = [whole(divided(name, tmp_path)) for name in ("pictures", "bytes.parquet", "hub.parquet", "arrays.npz")]
    assert found[0] == {(picture_of(row["image"]).sha256, row["label"]) for row in rows}
    assert all(one == found[0] for one in found)
    assert whole(divide(Data(), CLIENTS, base=tmp_path, seed=0, given=rows, **READS)) == found[0]


def test_folders_of_parts(tmp_path, rows):
    folder(tmp_path, rows[::2], "all/train")
    folder(tmp_path, rows[1::2], "all/test")
    found = divided("all", tmp_path, test="all")
    assert len(found.server_test) == 6
    assert {e.fields["label"] for e in found.server_test} == {"red", "green", "blue"}


def test_the_same_picture_twice_is_one_and_on_one_side(tmp_path, rows):
    place = folder(tmp_path, rows)
    Image.fromarray(rows[0]["image"]).save(place / "red" / "again.bmp")
    found = divided("pictures", tmp_path)
    assert found.dropped == {"duplicates": 1}


def test_damaged_files_are_named_or_left_out(tmp_path, rows):
    place = folder(tmp_path, rows)
    (place / "red" / "cut.png").write_bytes((place / "red" / "0.png").read_bytes()[:50])
    (place / "red" / "zero.png").write_bytes(b"")
    (place / "red" / "text.jpg").write_text("see the other folder")
    with pytest.raises(
        DataError, match=r"3 of 15 rows cannot be used.*incomplete or damaged.*red/cut\.png.*no picture.*red/text\.jpg.*no bytes"
    ):
        divided("pictures", tmp_path)
    assert sum(divided("pictures", tmp_path, missing="drop").dropped.values()) == 3


def test_a_label_must_be_there_for_all(tmp_path, rows):
    place = folder(tmp_path, rows)
    Image.fromarray(rows[0]["image"]).save(place / "loose.png")
    with pytest.raises(DataError, match="partly in subfolders"):
        divided("pictures", tmp_path)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 no more"), "plain arrays"),
        (lambda path: np.savez(path, image=np.array([{}, {}], dtype=object)), "plain arrays"),
        (lambda path: np.savez(path, image=np.zeros((3, 4, 4, 3), np.uint8), label=["a", "b"]), "different lengths"),
    ],
    ids=["cut", "objects", "lengths"],
)
def test_npz_files_of_something_else(tmp_path, write, text):
    write(tmp_path / "a.npz")
    with pytest.raises(DataError, match=text):
        divided("a.npz", tmp_path)


def test_text_where_pictures_are_wanted(tmp_path):
    pd.DataFrame({"image": ["a.png", "b.png"], "label": ["x", "y"]}).to_csv(tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"holds text where a picture is wanted.*one subfolder a label"):
        divided("list.csv", tmp_path)
