"""The hot paths of diffusion and generation compile for absent machines.

Article: https://kexue.fm/archives/9119, https://kexue.fm/archives/9181
"""

import keras
import numpy as np
import pytest

from su_models.generation import BeamSearch
from su_models.models import build_ddpm, build_ddpm_trainer
from su_models.models.decoding.plan import Plan
from su_models.models.decoding.program import Program
from su_models.optimizers import Lookahead
from su_models.sampling import DDIM, DDPM, NoiseSchedule
from tests.contract import normal
from tests.models.decoding.whole import build

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax",
    reason="only JAX compiles for a platform that is not here",
)
SCHEDULE = NoiseSchedule.author(12)
SHAPE = (8, 8, 2)
each_platform = pytest.mark.parametrize("platform", ["tpu", "cuda"])


@pytest.fixture(scope="module", params=["ho", "dense"])
def denoiser(request):
    widths = {"ho": (4, 8), "dense": (16,)}[request.param]
    return build_ddpm(
        image_shape=SHAPE,
        widths=widths,
        variant=request.param,
        blocks=1,
        num_steps=12,
        groups=2,
    )


def assert_lowered(exported, platform):
    assert exported.platforms == (platform,)
    assert len(exported.serialize()) > 1000
    text = exported.mlir_module()
    assert "stablehlo.dot_general" in text or "convolution" in text
    return text


@each_platform
@pytest.mark.parametrize(
    "sampler", [DDIM(SCHEDULE, stride=3), DDPM(SCHEDULE)], ids=["DDIM", "DDPM"]
)
def test_sampler_is_one_program_for(platform, sampler, denoiser):
    program, n = sampler._program(denoiser), len(sampler.times)
    exported = program.export(
        normal(4, *SHAPE), 0, 0, 0, n, platforms=[platform]
    )
    text = assert_lowered(exported, platform)
    assert "stablehlo.while" in text, "the steps are no loop"
    assert [a.shape for a in exported.out_avals] == [(4, *SHAPE)]


@each_platform
def test_train_step_is_one_program_for(platform, denoiser):
    import jax

    trainer = build_ddpm_trainer(denoiser, SCHEDULE, seed=0)
    adam = keras.optimizers.Adam(1e-3, use_ema=True)
    trainer.compile(Lookahead(adam), jit_compile=True)
    trainer.optimizer.build(trainer.trainable_variables)
    variables = (
        trainer.trainable_variables,
        trainer.non_trainable_variables,
        trainer.optimizer.variables,
        trainer.metrics_variables,
    )
    state = keras.tree.map_structure(lambda v: v.value, variables)
    batch = (normal(4, *SHAPE),)
    step = jax.jit(trainer.train_step)
    exported = jax.export.export(step, platforms=[platform])(state, batch)
    assert_lowered(exported, platform)
    shapes = [a.shape for a in exported.out_avals]
    logs = [()]  # the loss
    assert shapes == logs + [v.shape for v in keras.tree.flatten(state)]


@each_platform
@pytest.mark.parametrize("row", ["roformer-unilm", "t5.1.1"])
def test_generation_is_one_program_for(platform, row):
    model = build(row)
    search = BeamSearch(6, 3, end_id=6)
    program = Program(Plan(model), search).run
    inputs = {
        "tokens": np.ones((2, 16), "int32"),
        "lengths": np.array([5, 16], "int32"),
    }
    if row == "t5.1.1":
        inputs["source"] = [inputs["tokens"]]
    else:
        inputs["segments"] = inputs["tokens"] * 0
    exported = program.export(inputs, 6, platforms=[platform])
    text = assert_lowered(exported, platform)
    assert "stablehlo.while" in text, "the steps are no loop"
    shapes = [a.shape for a in exported.out_avals]
    assert shapes == [(2, 1, 6), (2, 1), (2,)]
