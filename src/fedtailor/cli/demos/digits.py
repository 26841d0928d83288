"""Scikit-learn's digits as folders of pictures, and a backbone that has seen half of them."""

from pathlib import Path

PUBLIC = ("0", "1", "2", "3", "4")
PICTURES = 1797  # of the data set, all of it
SIZE = 16  # pixels; the data have 8 × 8
TEST_EVERY = 6  # one picture in so many of the private digits is held out
STEPS, BATCH = 250, 16  # of the backbone's training


def write(folder: Path) -> None:
    """Write `public`, `private` and `test`, a folder of pictures for each digit, and train `backbone` on the public ones."""
    from ...job import Job
    from ...studies.pretrain import Pretraining, pretrain

    _pictures(folder)
    job = Job.from_dict(
        {
            "backbone": "backbone",
            "task": {"kind": "image-generation", "size": SIZE, "labels": [str(digit) for digit in range(10)]},
            "data": {"train": "public"},
            "tuning": {"kind": "full"},
        },
        base=folder,
    )
    pretrain(job, folder / "backbone", Pretraining(shape="unet-tiny", only=PUBLIC, steps=STEPS, batch_size=BATCH))


def _pictures(folder: Path) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    from ...pictures import picture_of
    from ...storage import write_bytes

    digits = load_digits()
    for place, (grey, label) in enumerate(zip(digits.images[:PICTURES], digits.target[:PICTURES], strict=True)):
        name = str(label)
        part = "public" if name in PUBLIC else "test" if place % TEST_EVERY == 0 else "private"
        where = folder / part / name
        where.mkdir(parents=True, exist_ok=True)
        large = (grey * 255 / 16).astype("uint8").repeat(SIZE // len(grey), axis=0).repeat(SIZE // len(grey), axis=1)
        write_bytes(where / f"{place}.png", picture_of(np.repeat(large[:, :, None], 3, axis=2)).content)
