"""Particles that minimize a functional of their distribution."""

from keras import ops

from su_models.backend.autodiff import gradient
from su_models.sampling.base import GradientFlow


class WassersteinFlow(GradientFlow):
    """The Wasserstein gradient flow of a functional, by particles.

    Article: https://kexue.fm/archives/9660
        《梯度流：探索通向最小值之路》
    Article: https://kexue.fm/archives/10289
        《通向最优分布之路：概率空间的最小化》
    Paper: https://arxiv.org/abs/1609.03890

    The steepest way down of F[q] among distributions is

        ∂q/∂t = ∇·(q ∇ δF/δq)                                       Eq. (17)

    and each particle x of q follows, by Eq. (46) of the second article,

        dx/dt = -∇ δF/δq (x)

    The functional is given as a function of the n particles: an energy of
    positions `mean_i V(x_i)`, of pairs `mean_ij W(x_i - x_j) / 2`, or any
    other, e.g. an entropy with an estimated density. At x_i, ∇ δF/δq is n
    times the derivative for x_i, so that one step is

        x_i ← x_i - η n ∂F/∂x_i

    With a temperature τ > 0 the entropy τ ∫ q log q joins F, by noise, as in
    `Langevin`. Every step is of order n², if F is of pairs.

    Args:
        step_size: float > 0, η; or one for each step.
        num_steps: int >= 1; the number of steps.
        temperature: float >= 0, τ; or one for each step.

    Call arguments:
        functional: a callable from the particles `(n, ...)` to a scalar.
        noise: where the n particles are at first, floats `(n, ...)`.
        seed: optional int, of the noise; not used if the temperature is 0.
        progress: bool. Shows a progress bar.

    Returns:
        Where the particles are in the end, float32, of the shape of `noise`.

    Raises:
        ValueError: if an argument is none of these, `noise` is empty or not
            finite, or the functional returns no scalar.

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
