"""Pictures of every kind that people have are read alike, and what is none is refused by what is wrong with it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fedtailor.pictures import MOST_PIXELS, NotAPicture, notes_on, picture_of, write_grid

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def coded(image, kind="PNG", **more):
    held = io.BytesIO()
    image.save(held, format=kind, **more)
    return held.getvalue()


RGB = Image.fromarray(RAMP)


def test_the_same_pixels_are_one_picture_whatever_holds_them():
    found = [
        picture_of(coded(RGB)),
        picture_of(coded(RGB, "BMP")),
        picture_of({"bytes": coded(RGB), "path": None}),
        picture_of(RAMP),
        picture_of(RAMP.tolist()),
        picture_of(RGB),
    ]
    assert len(set(found)) == 1
    assert all((picture.pixels() == RAMP).all() for picture in found)
    assert picture_of(255 - RAMP) not in found


def test_numbers_from_0_to_1_count_255_times():
    assert (picture_of(RAMP / 255.0).pixels() == RAMP).all()


@pytest.mark.parametrize(
    ("content", "pixel", "note"),
    [
        (coded(Image.new("L", (4, 4), 100)), (100, 100, 100), "grey"),
        (coded(Image.fromarray(np.full((4, 4), 100 * 256 + 7, np.uint16))), (100, 100, 100), "16 bits"),
        (coded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), (255, 255, 255), "put on white"),
        (coded(Image.new("RGB", (4, 4), (9, 9, 9)).quantize(4), transparency=0), (255, 255, 255), "put on white"),
        (coded(Image.new("CMYK", (4, 4), (0, 0, 0, 255)), "JPEG"), (0, 0, 0), "colour space"),
        (coded(Image.new("RGB", (4, 4), (9, 9, 9)), "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4))]), (9, 9, 9), "first"),
    ],
    ids=["grey", "grey16", "transparent", "palette", "cmyk", "frames"],
)  # fmt: skip
def test_other_kinds_are_converted_with_a_note(content, pixel, note):
    picture = picture_of(content)
    assert tuple(picture.pixels()[0, 0]) == pixel
    assert note in notes_on([picture, picture_of(RAMP)])[0]


def test_a_picture_is_turned_as_its_camera_noted():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    wide = Image.fromarray(np.repeat(RAMP, 2, axis=1))
    assert picture_of(coded(wide, "PNG", exif=exif)).pixels().shape == (8, 4, 3)


def bomb():
    """Return a PNG of a kilobyte whose header speaks of 20,000 by 20,000 pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (coded(RGB)[:50], "incomplete or damaged"),
        (coded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")[:900], "incomplete or damaged"),
        (b"", "no bytes"),
        (b"no picture at all", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture"),
        (bomb(), f"{MOST_PIXELS:,}"),
        ("aGVsbG8=", "text"),
        ({"bytes": None, "path": "a.png"}, "text"),
        (7, "holds no picture"),
        (np.zeros((3, 5, 5), np.uint8), "channels come last"),
        (RAMP[:, :, :2], "not \\[height, width, 3\\]"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (RAMP / 100, "neither whole"),
        (RAMP.astype(int) - 1, "neither whole"),
        ([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "different lengths"),
    ],
    ids="png jpeg empty text postscript bomb base64 path number channels two nan large negative ragged".split(),
)  # fmt: skip
def test_what_is_no_picture_says_why(value, text):
    with pytest.raises(NotAPicture, match=text):
        picture_of(value)


def test_fitted_takes_the_middle_and_means_of_areas():
    wide = np.zeros((2, 6, 3), np.uint8)
    wide[:, 2:4] = [[[0, 0, 0], [100, 100, 100]], [[100, 100, 100], [200, 200, 200]]]
    assert picture_of(wide).fitted(1).tolist() == [[[100, 100, 100]]]
    assert (picture_of(RAMP).fitted(4) == RAMP).all()
    assert picture_of(RAMP).fitted(8).shape == (8, 8, 3)


def test_grid(tmp_path):
    write_grid(np.stack([RAMP, 255 - RAMP, RAMP]), tmp_path / "grid.png", columns=2, scale=2)
    sheet = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))[::2, ::2]
    assert sheet.shape == (14, 14, 3)
    assert (sheet[2:6, 8:12] == 255 - RAMP).all()
    assert (sheet[8:12, 8:12] == 255).all()
