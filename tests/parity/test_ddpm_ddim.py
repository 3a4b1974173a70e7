"""Article: https://kexue.fm/archives/9119, https://kexue.fm/archives/9181

Peers: `DDPMScheduler` and `DDIMScheduler` of diffusers (PyTorch).

diffusers counts the steps from 0, its betas are the squares of ours, and it
keeps the products of 1 - β in float32. Where little noise has been added, 1
minus such a product has few digits left: at the first step the peer's
deviation of the noise is off by a tenth of a percent. So its formulas are
compared with its constants computed again in float64, at all steps; and as it
is shipped, at steps from 50 on, where those digits are of no weight.
"""

import copy

import numpy as np
import pytest
from keras import ops

from su_models.sampling import DDIM, DDPM, NoiseSchedule
from tests.sampling.oracle import GaussianDenoiser

pytestmark = pytest.mark.parity
SCHEDULES = {
    "author": NoiseSchedule.author(1000),
    "paper": NoiseSchedule.from_betas(np.linspace(1e-4, 0.02, 1000)),
}
each_schedule = pytest.mark.parametrize(
    "schedule", SCHEDULES.values(), ids=SCHEDULES
)
each_precision = pytest.mark.parametrize(
    "exact", [True, False], ids=["float64", "shipped"]
)


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("diffusers", reason="peer: diffusers")
    return pytest.importorskip("torch", reason="peer: PyTorch")


def make_peer(torch, name, schedule, exact, **more):
    import diffusers

    peer = getattr(diffusers, name)(
        num_train_timesteps=schedule.num_steps,
        trained_betas=schedule.beta[1:] ** 2,
        clip_sample=False,
        prediction_type="epsilon",
        **more,
    )
    if exact:
        peer.betas = torch.tensor(schedule.beta[1:] ** 2)
        peer.alphas = 1 - peer.betas
        peer.alphas_cumprod = torch.cumprod(peer.alphas, dim=0)
        for constant in "one", "final_alpha_cumprod":
            if hasattr(peer, constant):
                setattr(peer, constant, torch.tensor(1.0, dtype=torch.float64))
    return peer


def ddim_peer(torch, sampler, exact):
    """Returns the peer of a `DDIM` whose stride divides T."""
    peer = make_peer(
        torch,
        "DDIMScheduler",
        sampler.schedule,
        exact,
        timestep_spacing=sampler.spacing,
        set_alpha_to_one=True,  # the last jump goes to the clean data
        steps_offset=0,
    )
    peer.set_timesteps(len(sampler.times))
    return peer


def draws(*shape):
    return np.random.default_rng(5).normal(size=(3, *shape)).astype("float32")


def our_step(sampler, t, x, predicted, z):
    """Runs the program of one step; adds its share of the noise `z`."""
    one = copy.copy(sampler)
    (i,) = np.flatnonzero(sampler.times == t)
    one.times = sampler.times[i : i + 1]
    one.table = sampler.table[i : i + 1] * [1, 1, 0]  # without noise
    one._programs = None
    predicted = ops.convert_to_tensor(predicted)
    mean = ops.convert_to_numpy(one(lambda x, t: predicted, x))
    return mean + sampler.table[i, 2] * z


def assert_close(ours, peers, relative=1e-6):
    atol = relative * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


@each_schedule
@each_precision
@pytest.mark.parametrize(
    "sigma, variance_type",
    [("beta", "fixed_large"), ("posterior", "fixed_small")],
)
def test_one_step_of_ddpm(torch, schedule, exact, sigma, variance_type):
    sampler = DDPM(schedule, sigma)
    peer = make_peer(
        torch, "DDPMScheduler", schedule, exact, variance_type=variance_type
    )
    x, predicted, _ = draws(4, 3, 5)
    dtype = torch.float64 if exact else torch.float32
    sample, output = (torch.tensor(v, dtype=dtype) for v in (x, predicted))
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    for t in [1000, 999, 500, 51, 2, 1][: None if exact else 4]:
        z = torch.randn(sample.shape, dtype=dtype, generator=generators[0])
        theirs = peer.step(output, t - 1, sample, generator=generators[1])
        ours = our_step(sampler, t, x, predicted, z.numpy())
        assert_close(ours, theirs.prev_sample.numpy())


@each_schedule
@each_precision
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_one_step_of_ddim(torch, schedule, exact, eta, spacing):
    sampler = DDIM(schedule, stride=50, eta=eta, spacing=spacing)
    peer = ddim_peer(torch, sampler, exact)
    x, predicted, z = draws(4, 3, 5)
    dtype = torch.float64 if exact else torch.float32
    sample, output, noise = (
        torch.tensor(v, dtype=dtype) for v in (x, predicted, z)
    )
    for i in [0, 9, 17, 18, 19][: None if exact else 3]:
        t = int(sampler.times[i])
        theirs = peer.step(output, t - 1, sample, eta=eta, variance_noise=noise)
        ours = our_step(sampler, t, x, predicted, z)
        assert_close(ours, theirs.prev_sample.numpy())


@each_schedule
@each_precision
@pytest.mark.parametrize("stride", [1, 20, 250])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_whole_ddim_loop_on_gaussian_data(
    torch, schedule, exact, stride, spacing
):
    sampler = DDIM(schedule, stride, spacing=spacing)
    denoiser = GaussianDenoiser(schedule, variance=0.25)
    x = draws(8, 64)[0]
    ours = ops.convert_to_numpy(sampler(denoiser, x))
    peer = ddim_peer(torch, sampler, exact)
    sample = torch.tensor(x, dtype=torch.float64 if exact else torch.float32)
    for t in peer.timesteps.tolist():
        predicted = denoiser.gain[t + 1] * sample
        sample = peer.step(predicted, t, sample).prev_sample
    # float32 rounds once a step, the shipped peer loses digits at the end
    assert_close(ours, sample.numpy(), relative=5e-6 if exact else 2e-5)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("stride", [1, 4, 250, 1000])
def test_visited_steps(torch, spacing, stride):
    sampler = DDIM(SCHEDULES["author"], stride, spacing=spacing)
    times = ddim_peer(torch, sampler, exact=False).timesteps + 1
    assert times.tolist() == sampler.times.tolist()
