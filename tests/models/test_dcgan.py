"""GANs as backbones: the size of what is made from nothing, folders read back, and what is wrong with one named."""

import pytest
import torch
from denoisers import edited, gan_folder, unet_folder  # noqa: F401  fixtures

from fedtailor.errors import BackboneError, SettingError
from fedtailor.models import Dcgan, load_backbone
from fedtailor.models.shapes import SHAPES


def load(folder, labels=()):
    return load_backbone(str(folder), kind="gan", labels=labels, device=torch.device("cpu"), base=folder.parent, seed=0)


def test_the_shape_has_the_weights_that_it_is_said_to_have():
    model = Dcgan.of({**SHAPES["dcgan"].settings, "sample_size": 32})
    sizes = [sum(p.numel() for p in part.parameters()) for part in (model.generator, model.discriminator)]
    # linear 64·1536 + 1536, convolutions of 9·(96·96 + 96·48 + 48·24 + 24·3) + 96 + 48 + 24 + 3, norms of 2·(96 + 96 + 48 + 24)
    assert sizes[0] == 99_840 + 135_432 + 171 + 528
    # 16·(3·24 + 24·48 + 48·96 + 96·96) + 24 + 48 + 96 + 96, and 2·2·96 + 1
    assert sizes[1] == 240_768 + 264 + 385
    noise = torch.randn(2, 64)
    pictures = model(noise)
    assert pictures.shape == (2, 3, 32, 32)
    assert pictures.abs().max() <= 1
    assert model.discriminator(pictures).shape == (2,)
    torch.testing.assert_close(model(noise[1:]), pictures[1:], rtol=0, atol=1e-5)  # nothing depends on the rest of the batch
    assert not list(model.buffers())


def test_a_folder_is_read_back_exactly(gan_folder, tmp_path):  # noqa: F811
    found = load(gan_folder)
    assert (found.processor.size, found.processor.noise_shape, found.processor.classes) == (8, (6,), 0)
    assert not any(p.requires_grad for p in found.model.parameters())
    found.model.save_pretrained(tmp_path)
    again, noise = Dcgan.from_pretrained(tmp_path), torch.randn(3, 6)
    assert torch.equal(again(noise), found.model(noise))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"noise": 0}, "noise is 0; it must be a whole number from 1"),
        ({"generator_channels": None}, "generator_channels is None; it must be whole numbers"),
        ({"sample_size": 6}, "sample_size is 6, which the lists of channels halve 2 times"),
        ({"generator_channels": [8, 8]}, "are its config.json and its weights of one model"),
        ({"_class_name": "StyleGan"}, "is a 'StyleGan', and task.objective: adversarial needs a Dcgan"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_folder_is_said(gan_folder, tmp_path, settings, text):  # noqa: F811
    with pytest.raises(BackboneError, match=text):
        load(edited(gan_folder, tmp_path / "copy", **settings))


def test_another_kind_of_model_and_labels_are_refused(gan_folder, unet_folder):  # noqa: F811
    with pytest.raises(BackboneError, match=r"is a 'UNet2DModel', and task.objective: adversarial needs"):
        load(unet_folder)
    with pytest.raises(SettingError, match=r"set task.condition: none"):
        load(gan_folder, labels=("a", "b"))
    with pytest.raises(BackboneError, match=r"'Dcgan'.*set task.objective: adversarial"):
        load_backbone(str(gan_folder), kind="denoiser", device=torch.device("cpu"), base=gan_folder.parent, seed=0)


def test_a_convolutions_weights_count_once_a_pixel(gan_folder):  # noqa: F811
    # generator: 6·128 at once, 9·8·4 at each of 64 pixels, 9·4·3 at 64; discriminator: 16·3·4 at 16 pixels, 16·4·8 at 4, and 32 at once
    assert load(gan_folder).body_parameters == 768 + 64 * (288 + 108) + 16 * 192 + 4 * 512 + 32
