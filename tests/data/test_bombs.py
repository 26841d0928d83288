"""Files of a few bytes that unpack to gigabytes: refused before they do."""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedtailor.data.load import load_examples
from fedtailor.errors import DataError


def test_a_parquet_file_of_a_few_bytes_does_not_fill_the_memory(tmp_path):
    """3 million rows of one text of 1 kB: 3 GB, from a file that is smaller by far."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000_000, dtype=np.int32)), pa.array(["x" * 1000]))
    pq.write_table(pa.table({"input": column}), tmp_path / "bomb.parquet")
    with pytest.raises(DataError, match=r"bomb\.parquet: column 'input' unpacks to more than 268,435,456 bytes"):
        load_examples("bomb.parquet", columns={}, required=["input"], optional=[], base=tmp_path, part="train")


def test_a_spreadsheet_of_a_few_bytes_does_not_fill_the_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"<row/>" * 30_000_000)
    with pytest.raises(DataError, match=r"bomb\.xlsx unpacks to 180,000,000 bytes, more than 200 times"):
        load_examples("bomb.xlsx", columns={}, required=["input"], optional=[], base=tmp_path, part="train")
