"""Sampling by Langevin dynamics."""

from su_models.layers.diffusion.timestep_embedding import TimestepEmbedding
from su_models.sampling.base import GradientFlow, Sampler


class Langevin(GradientFlow, Sampler):
    """Langevin dynamics: the gradient flow of a KL divergence by particles.

    Article: https://kexue.fm/archives/9660
        《梯度流：探索通向最小值之路》
    Paper: https://arxiv.org/abs/1609.03890

    In the space of distributions with the Wasserstein distance, the steepest
    descent of F[q] = KL(q‖p) is the Fokker-Planck equation, Eq. (22):

        ∂q/∂t = -∇·(q ∇log p) + ∇·∇q

    Particles with distribution q follow it by an equation without q:

        dx = ∇log p(x) dt + √2 dw                                   Eq. (23)

    With the step size η and the temperature τ, one step is

        x ← x + η ∇log p(x) + √(2ητ) z

    Temperature τ samples from p^(1/τ); 0 is gradient ascent on log p. The
    limit is not exactly p: for p = N(0, 1) it is N(0, 1/(1 - η/2)).

    Args:
        step_size: float > 0, η; or one for each step, in the order in which
            they are taken.
        num_steps: int >= 1; the number of steps.
        temperature: float >= 0, τ; or one for each step, for annealing.

    Call arguments:
        score: a callable `(x, t)` → ∇log p(x) of the shape of `x`, where `t`
            is int32 `(batch,)`, the number of remaining steps, from
            `num_steps` to 1; or a `keras.Model` with the inputs `[x, t]`, or
            with only the input `x`.
        noise: initial particles, floats `(batch, ...)`, from any
            distribution.
        seed: optional int from 0 to 2³¹ - 1. None draws a seed.
        progress: bool. Whether to show a progress bar.

    Returns:
        Final particles, float32, of the shape of `noise`.

    Raises:
        ValueError: if an argument is invalid, or `noise` is empty or not
            finite.

    Example:

    >>> langevin = su_models.sampling.Langevin(0.1, num_steps=100)
    >>> x = langevin(lambda x, t: -x, keras.ops.ones((2000, 1)), seed=0)
    >>> bool(abs(keras.ops.mean(x)) < 0.1), bool(keras.ops.std(x) > 0.9)
    (True, True)
    """

    def __init__(self, step_size, num_steps=1000, temperature=1.0):
        super().__init__(step_size, num_steps, temperature)

    def vector_field(self, denoiser):
        TimestepEmbedding.check(denoiser, self.num_steps)
        return super().vector_field(denoiser)
