"""Tunings of models of pictures: they change nothing at the start, are saved and loaded exactly, and factors of convolutions are matrices."""

import pytest
import torch
from denoisers import LABELS, SIZE, dit_folder, gan_folder, unet_folder  # noqa: F401  fixtures

from fedtailor.errors import SettingError
from fedtailor.models import load_backbone
from fedtailor.tuning import Adapter, Full, Lora, PeftMethod, Prefix, load_adapter
from fedtailor.tuning.adapters.second import add_adapter, save_active


def load(folder):
    gan = folder.name == "gan"
    return load_backbone(
        str(folder),
        kind="gan" if gan else "denoiser",
        labels=() if gan else LABELS,
        device=torch.device("cpu"),
        base=folder.parent,
        seed=0,
    ).model


def answer(model):
    """Return what a denoiser answers; of a GAN pictures and what the discriminator says of them."""
    draw = torch.Generator().manual_seed(0)
    if hasattr(model, "discriminator"):
        with torch.inference_mode():
            pictures = model(torch.randn(2, 6, generator=draw))
            return torch.cat([pictures.flatten(), 0.1 * model.discriminator(pictures)])
    noisy = torch.randn(2, 3, SIZE, SIZE, generator=draw)
    with torch.inference_mode():
        return model(noisy, torch.tensor([10.0, 500.0]), torch.tensor([0, 3])).sample


def shake(tuning, model):
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tuning.parameters(model).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))


@pytest.fixture(params=["unet", "dit", "gan"])
def folder(request):
    return request.getfixturevalue(f"{request.param}_folder")


TUNINGS = {
    "full": Full(),
    "lora": Lora(rank=2, alpha=5),
    "all-linear": Lora(rank=2, targets=("all-linear",)),
    "adapter": Adapter(width=3),
    "houlsby": Adapter(width=3, placement="houlsby", activation="gelu"),
}


@pytest.fixture(params=TUNINGS)
def tuning(request, folder):
    if folder.name == "gan" and request.param in ("adapter", "houlsby"):
        pytest.skip("has no place in a GAN")
    return TUNINGS[request.param]


@pytest.mark.few(3)
def test_it_changes_nothing_at_the_start_and_is_saved_exactly(folder, tuning, tmp_path):
    before = answer(load(folder))
    model = tuning.attach(load(folder), 0)
    assert torch.allclose(answer(model), before, atol=1e-6)  # torch computes convolutions otherwise where weights want gradients
    shake(tuning, model)
    assert not torch.allclose(answer(model), before, atol=1e-3)
    tuning.save(model, tmp_path)
    again = tuning.attach(load(folder), 3)
    tuning.restore(again, tmp_path)
    assert torch.equal(answer(again), answer(model))


def test_an_adapter_behind_a_convolution_works_on_channels(unet_folder):  # noqa: F811
    tuning = Adapter(width=3)
    model = tuning.attach(load(unet_folder), 0)
    found = tuning.parameters(model)
    assert found["down_blocks.0.resnets.0.conv2.adapter.down.weight"].shape == (3, 4)
    assert found["class_embedding.weight"].shape == (4, 16)
    assert sum(name.endswith("conv2.adapter.up.weight") for name in found) == 8  # of 1 + 1 down, 2 in the middle, 2 + 2 up
    shake(tuning, model)
    adapter = model.down_blocks[0].resnets[0].conv2.adapter
    hidden, (down, up) = torch.randn(2, 4, 5, 5), (adapter.down, adapter.up)
    wide = torch.nn.functional.conv2d(hidden, down.weight[:, :, None, None], down.bias).relu()
    wanted = hidden + torch.nn.functional.conv2d(wide, up.weight[:, :, None, None], up.bias)
    torch.testing.assert_close(adapter(hidden), wanted)


def test_a_folder_of_ours_is_loaded_onto_a_model_of_diffusers(unet_folder, tmp_path):  # noqa: F811
    from diffusers import AutoModel

    tuning = Adapter(width=3)
    model = tuning.attach(load(unet_folder), 0)
    shake(tuning, model)
    tuning.save(model, tmp_path)
    assert torch.equal(answer(load_adapter(AutoModel.from_pretrained(str(unet_folder)).eval(), tmp_path)), answer(model))


def test_rows_of_labels_are_trained_and_convolutions_are_matrices(unet_folder):  # noqa: F811
    found = Lora(rank=2).parameters(Lora(rank=2).attach(load(unet_folder), 0))
    assert found["base_model.model.class_embedding.weight"].shape == (4, 16)
    assert found["base_model.model.down_blocks.0.resnets.0.conv1.lora_A.weight"].shape == (2, 4 * 9)
    assert found["base_model.model.down_blocks.0.resnets.0.conv1.lora_B.weight"].shape == (4, 2)
    assert any("to_out.0.lora_A" in name for name in found)


def test_peft_loads_and_merges_what_is_saved(folder, tmp_path):
    from peft import PeftModel

    tuning = Lora(rank=2, alpha=5)
    model = tuning.attach(load(folder), 0)
    shake(tuning, model)
    tuning.save(model, tmp_path)
    theirs = PeftModel.from_pretrained(load(folder), str(tmp_path)).eval()
    assert torch.allclose(answer(theirs), answer(model), atol=1e-6)
    assert torch.allclose(answer(theirs.merge_and_unload()), answer(model), atol=1e-5)
    assert torch.allclose(answer(model.merge_and_unload()), answer(theirs), atol=1e-5)


def test_two_adapters_are_written_as_one(unet_folder, tmp_path):  # noqa: F811
    tuning = Lora(rank=2, alpha=5)
    model = tuning.attach(load(unet_folder), 0)
    further = add_adapter(model, "carried", rank=3, alpha=3, trained=True, seed=0)
    with torch.no_grad():
        for parameter in (*tuning.parameters(model).values(), *further.values()):
            parameter.add_(0.1)
    save_active(model, tmp_path)
    joined = Lora(rank=5, alpha=5)
    again = joined.attach(load(unet_folder), 0)
    joined.restore(again, tmp_path)
    assert torch.allclose(answer(again), answer(model), atol=1e-5)


@pytest.mark.parametrize(
    ("tuning", "text"),
    [
        (Lora(targets=("conv_7",)), "no such linear or convolutional module"),
        (Prefix(length=2), "do not go together"),
        (PeftMethod(type="IA3"), "do not go together"),
    ],
    ids=["targets", "prefix", "ia3"],
)
def test_what_has_no_place_in_a_denoiser(unet_folder, tuning, text):  # noqa: F811
    with pytest.raises(SettingError, match=text):
        tuning.attach(load(unet_folder), 0)


def test_an_adapter_has_no_place_in_a_gan(gan_folder):  # noqa: F811
    with pytest.raises(SettingError, match=r"adapter and a Dcgan do not go together.*tuning: lora"):
        Adapter().attach(load(gan_folder), 0)


def test_factors_go_beside_the_generator_alone(gan_folder):  # noqa: F811
    found = Lora(rank=2).parameters(Lora(rank=2).attach(load(gan_folder), 0))
    assert found["base_model.model.generator.linear.lora_A.weight"].shape == (2, 6)
    assert found["base_model.model.generator.conv1.lora_A.weight"].shape == (2, 8 * 9)
    assert {name.split(".")[2] for name in found if "lora" in name} == {"generator"}
    assert found["base_model.model.discriminator.conv1.weight"].shape == (4, 3, 4, 4)
