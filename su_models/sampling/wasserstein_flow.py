"""Particles that minimize a functional of their distribution."""

from keras import ops

from su_models.backend.autodiff import gradient
from su_models.sampling.base import GradientFlow


class WassersteinFlow(GradientFlow):
    """Wasserstein gradient flow of a functional, by particles.

    Article: https://kexue.fm/archives/9660
        《梯度流：探索通向最小值之路》
    Article: https://kexue.fm/archives/10289
        《通向最优分布之路：概率空间的最小化》
    Paper: https://arxiv.org/abs/1609.03890

    The steepest descent of F[q] among distributions is

        ∂q/∂t = ∇·(q ∇ δF/δq)                                       Eq. (17)

    and each particle x of q follows, by Eq. (46) of the second article,

        dx/dt = -∇ δF/δq (x)

    The functional is given as a function of the n particles: an energy of
    positions `mean_i V(x_i)`, of pairs `mean_ij W(x_i - x_j) / 2`, or any
    other, e.g. an entropy with an estimated density. At x_i, ∇ δF/δq is n
    times the derivative with respect to x_i, so one step is

        x_i ← x_i - η n ∂F/∂x_i

    A temperature τ > 0 adds the entropy term τ ∫ q log q to F by noise, as in
    `Langevin`. If F is an energy of pairs, each step costs O(n²).

    Args:
        step_size: float > 0, η; or one for each step.
        num_steps: int >= 1; the number of steps.
        temperature: float >= 0, τ; or one for each step.

    Call arguments:
        functional: a callable from the particles `(n, ...)` to a scalar.
        noise: initial particles, floats `(n, ...)`.
        seed: optional int. Seed of the noise; ignored if the temperature is
            0.
        progress: bool. Whether to show a progress bar.

    Returns:
        Final particles, float32, of the shape of `noise`.

    Raises:
        ValueError: if an argument is invalid, `noise` is empty or not finite,
            or the functional does not return a scalar.

    Example:

    >>> flow = su_models.sampling.WassersteinFlow(0.1, num_steps=200)
    >>> energy = lambda x: keras.ops.mean((x - 3.0) ** 2)
    >>> x = flow(energy, keras.ops.array([[0.0], [1.0]]))
    >>> [round(float(v), 3) for v in x[:, 0]]
    [3.0, 3.0]
    """

    def __init__(self, step_size, num_steps=1000, temperature=0.0):
        super().__init__(step_size, num_steps, temperature)

    def vector_field(self, denoiser):
        if not callable(denoiser):
            raise ValueError(
                "`functional` must be callable. "
                f"Received: functional={denoiser!r}"
            )

        def velocity(x, t):
            n = ops.cast(ops.shape(x)[0], x.dtype)
            return -n * gradient(denoiser, x)

        return velocity
