"""Losses of epsilon and v by hand, and sampling beside diffusers' own DDIM."""

import pytest
import torch
from diffusers import DDIMScheduler

from fedtailor.tasks.images.diffusion import Diffusion

PICTURE, NOISE = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), -1.0)
KEPT = (0.9, 0.64, 0.1)  # at the level 1 a picture counts 0.8 and noise 0.6: a ratio of 0.64 / 0.36


@pytest.mark.parametrize(
    ("answers", "wanted", "weight"),
    [("epsilon", -1.0, 1.0), ("v", 0.8 * -1 - 0.6 * 0.5, (0.64 / 0.36) / (0.64 / 0.36 + 1))],
)
def test_the_loss_is_the_weighted_square_of_what_is_missed(answers, wanted, weight):
    path = Diffusion(kept=KEPT, answers=answers)
    asked = []

    def answer(noisy, time, label):
        asked.append((noisy, time))
        return torch.full_like(noisy, wanted + 0.5)  # off by a half

    found = path.losses(answer, PICTURE, NOISE, torch.tensor([1, 1]), None)
    assert found.tolist() == pytest.approx([weight * 0.25] * 2, rel=1e-5)
    ((noisy, time),) = asked
    assert noisy.unique().item() == pytest.approx(0.8 * 0.5 - 0.6)
    assert time.tolist() == [1, 1]


@pytest.mark.parametrize(("answers", "weight"), [("epsilon", 5 / 9), ("v", 5 / 10)])
def test_where_there_is_little_noise_a_miss_counts_less(answers, weight):
    # at the level 0 the ratio is 0.9 / 0.1 = 9, of which 5 count: 5 / 9 of epsilon, and of v 5 / (9 + 1)
    path = Diffusion(kept=KEPT, answers=answers)
    clear, noisy = 0.9**0.5, 0.1**0.5
    right = -1.0 if answers == "epsilon" else clear * -1 - noisy * 0.5
    found = path.losses(lambda at, time, label: torch.full_like(at, right + 1), PICTURE, NOISE, torch.tensor([0, 0]), None)
    assert found.tolist() == pytest.approx([weight] * 2, rel=1e-4)


def test_levels_are_drawn_of_all_and_measured_at_fixed_ones():
    path = Diffusion(kept=tuple(torch.linspace(0.99, 0.01, 16).tolist()), answers="epsilon")
    torch.manual_seed(0)
    assert set(path.drawn(400).tolist()) == set(range(16))
    assert path.fixed().tolist() == [1, 3, 5, 7, 9, 11, 13, 15]


@pytest.mark.parametrize(("answers", "said"), [("epsilon", "epsilon"), ("v", "v_prediction")])
@pytest.mark.parametrize("steps", [1, 4, 20])  # of 1,000 levels each leaves out alike many
def test_samples_are_those_of_diffusers(answers, said, steps):
    theirs = DDIMScheduler(
        prediction_type=said, timestep_spacing="trailing", beta_schedule="squaredcos_cap_v2", set_alpha_to_one=True
    )
    theirs.set_timesteps(steps)
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def answer(at, time, label):
        return torch.tanh(at * 0.7 + time[:, None, None, None] / 1000)

    at = noise
    for time in theirs.timesteps:
        at = theirs.step(answer(at, time.expand(2), None), time, at).prev_sample
    path = Diffusion(kept=tuple(theirs.alphas_cumprod.tolist()), answers=answers)
    torch.testing.assert_close(path.sample(answer, noise, None, steps=steps), at, rtol=1e-4, atol=1e-4)
