"""Pictures: checked and decoded within bounds, fitted to a model's canvas, and put together in a grid."""

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .errors import DataError
from .storage import write_bytes

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM")  # others are not tried: each is a parser of bytes from anywhere
MOST_BYTES = 64 << 20  # of one file
MOST_PIXELS = 64_000_000  # of one picture, known before it is decoded: few bytes may stand for gigabytes
CHANNELS = (1, 3, 4)  # of an array, in its last place: grey, red-green-blue, these with opacity
GENERATOR, DISCRIMINATOR = "generator", "discriminator"  # parts of a GAN, also in the names of its weights
GAP = 2  # pixels between the pictures of a grid
BAD_PICTURE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError, TypeError, IndexError, KeyError)


class NotAPicture(ValueError):
    """Why something cannot be read as a picture, as the end of "column image ..."."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture, known to decode; equal to every other one of the same pixels, whatever file format either comes in."""

    sha256: str  # of its size and pixels
    width: int
    height: int
    content: bytes = field(compare=False, repr=False)  # as encoded
    note: str = field(default="", compare=False, repr=False)  # how it was made red-green-blue, if it was something else

    def __str__(self) -> str:
        return self.sha256

    def pixels(self) -> Any:
        """Return red, green and blue, uint8 [height, width, 3]."""
        return np.asarray(_decode(self.content)[0])

    def fitted(self, size: int) -> Any:
        """Return uint8 [size, size, 3]: the square in the middle, made smaller by areas or larger by cubic interpolation."""
        image = _pillow().fromarray(self.pixels())
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)) if image.width != image.height else image
        way = _pillow().Resampling.BOX if side > size else _pillow().Resampling.BICUBIC
        return np.asarray(square if side == size else square.resize((size, size), way))


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a model of pictures takes and gives: squares of one size."""

    size: int
    channels: int = 3
    classes: int = 0  # that it can be asked for; 0: it takes no label
    answers: Literal["flow", "epsilon", "v", "adversarial"] = "flow"  # what it has learned: see `tasks.images.ways`
    kept: tuple[float, ...] = ()  # with epsilon and v: the share of a picture's variance at each level of noise
    noise: tuple[int, ...] = ()  # shape of what a picture is made out of; empty: that of the picture

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the noise that one picture is made out of."""
        return self.noise or (self.channels, self.size, self.size)


def picture_of(value: object) -> Picture:
    """Return the picture in a cell: encoded bytes, a mapping with them under `bytes`, an array of pixels, or one of Pillow's.

    Raises:
        NotAPicture: saying why it is none, as the end of a sentence that begins with the column.
        DataError: if Pillow is not installed.
    """
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes | bytearray):
        value = value["bytes"]
    if isinstance(value, str) or (isinstance(value, dict) and value.get("path")):
        raise NotAPicture("holds text where a picture is wanted")
    if hasattr(value, "getbbox") and hasattr(value, "save"):
        return _from_pillow(value)
    if isinstance(value, list | np.ndarray):
        return _from_array(value)
    if not isinstance(value, bytes | bytearray):
        raise NotAPicture("holds no picture")
    if len(value) > MOST_BYTES:
        raise NotAPicture(f"holds a file of more than {MOST_BYTES >> 20} MiB")
    image, note = _decode(bytes(value))
    return _picture(image, bytes(value), note)


def write_grid(pictures: Any, path: Path, *, columns: int, scale: int = 1, middle: int | None = None) -> None:
    """Write pictures uint8 [N, height, width, 3] as one PNG, row by row, each pixel `scale` wide and high.

    Args:
        middle: a column before which there is a wider gap.
    """
    count, height, width = pictures.shape[:3]
    rows = -(-count // columns)
    wider = 0 if middle is None else 3 * GAP
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP + wider, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = (
            GAP + row * (height + GAP),
            GAP + column * (width + GAP) + (wider if middle is not None and column >= middle else 0),
        )
        sheet[top : top + height, left : left + width] = picture
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    coded = io.BytesIO()
    _pillow().fromarray(sheet).quantize(256).save(coded, format="PNG", optimize=True)  # a third of the bytes
    write_bytes(path, coded.getvalue())


def notes_on(pictures: Sequence[Picture]) -> list[str]:
    """Return in sentences how many pictures were converted, and how."""
    kinds = [picture.note for picture in pictures if picture.note]
    return [f"pictures that {kind}: {kinds.count(kind):,}" for kind in dict.fromkeys(kinds)]


@cache
def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as fault:
        raise DataError("pictures need the package pillow; run: pip install 'fedtailor[images]'") from fault
    return Image


def _decode(content: bytes) -> tuple[Any, str]:
    """Return encoded bytes as one of Pillow's pictures in red, green and blue, turned as its camera noted, and how it was made so."""
    from PIL import ImageOps

    library = _pillow()
    if not content:
        raise NotAPicture("holds a file of no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are held against a lower bound below
            image = library.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise NotAPicture(f"holds a picture of more than {MOST_PIXELS:,} pixels")
            image.load()
            frames = getattr(image, "n_frames", 1)
            return _in_colour(ImageOps.exif_transpose(image), frames)
    except NotAPicture:
        raise
    except library.UnidentifiedImageError:
        raise NotAPicture(f"holds bytes that are no picture ({', '.join(FORMATS)} are known)") from None
    except library.DecompressionBombError:
        raise NotAPicture(f"holds a picture of more than {MOST_PIXELS:,} pixels") from None
    except BAD_PICTURE:  # whatever a parser makes of damaged bytes
        raise NotAPicture("holds a picture that is incomplete or damaged") from None


def _in_colour(image: Any, frames: int) -> tuple[Any, str]:
    """Return a loaded picture in red, green and blue, and a note if that took a choice."""
    note = "have several frames, of which the first is read" if frames > 1 else ""
    if image.mode == "RGB":
        return image, note
    if image.mode.startswith(("I;16", "I")):  # 16 bits of grey: Pillow's own conversion would drop all above 255
        deep = np.asarray(image).astype(np.int64)
        grey = _pillow().fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8))
        return grey.convert("RGB"), note or "are grey of 16 bits, and were read with 8"
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        sheet = _pillow().new("RGBA", layer.size, (255, 255, 255, 255))
        return _pillow().alpha_composite(sheet, layer).convert("RGB"), note or "are partly transparent, and were put on white"
    kind = {"L": "grey", "1": "black and white", "P": "of a palette"}.get(image.mode, "of another colour space")
    return image.convert("RGB"), note or f"are {kind}, and were made red-green-blue"


def _from_pillow(image: Any) -> Picture:
    try:
        image.load()
        plain, note = _in_colour(image, getattr(image, "n_frames", 1))
    except BAD_PICTURE:
        raise NotAPicture("holds a picture that is incomplete or damaged") from None
    return _picture(plain, _png(plain), note)


def _from_array(value: Any) -> Picture:
    """Return a picture of whole numbers 0 to 255, or of numbers 0 to 1; channels come last."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise NotAPicture("holds rows of different lengths") from None
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.dtype.kind not in "uif" or array.shape[2] not in CHANNELS or 0 in array.shape:
        hint = "; channels come last" if array.ndim == 3 and array.shape[0] in CHANNELS else ""
        raise NotAPicture(f"holds an array of shape {tuple(array.shape)}, not [height, width, 3]{hint}")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise NotAPicture(f"holds a picture of more than {MOST_PIXELS:,} pixels")
    if not np.isfinite(array).all():
        raise NotAPicture("holds numbers that are NaN or infinite")
    if array.dtype.kind == "f" and array.max() <= 1:
        array = np.rint(array * 255)
    if array.min() < 0 or array.max() > 255 or not (array == np.rint(array)).all():
        raise NotAPicture("holds numbers that are neither whole from 0 to 255 nor all from 0 to 1")
    plain = array.astype(np.uint8)
    image, note = _in_colour(_pillow().fromarray(plain[:, :, 0] if plain.shape[2] == 1 else plain), 1)
    return _picture(image, _png(image), note)


def _png(image: Any) -> bytes:
    coded = io.BytesIO()
    image.save(coded, format="PNG", compress_level=1)
    return coded.getvalue()


def _picture(image: Any, content: bytes, note: str) -> Picture:
    width, height = image.size
    digest = hashlib.sha256(f"{width} x {height}\n".encode() + image.tobytes()).hexdigest()
    return Picture(sha256=digest, width=width, height=height, content=content, note=note)
