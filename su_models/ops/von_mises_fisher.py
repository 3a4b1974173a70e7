"""The von Mises-Fisher distribution in float64, accurate to about 1e-13.

Its density on the unit sphere of R^d is proportional to exp(κ⟨μ, x⟩), so it
is determined by the angle φ between μ and x, whose density is

    p(φ) ∝ exp(κ cos φ) sin^(d-2) φ,   0 <= φ <= π

The functions below integrate this density by Gauss-Legendre quadrature, in
panels around its mode. They use no Bessel functions, and hence do not
overflow for any κ and any dimension.
"""

import math

import numpy as np

from su_models.utils.checks import check_integer, check_not_negative

# float32 normal numbers of all backends lie within ±6
REACH = 7.0
INTERVALS = 1024
_PANELS = 512
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def von_mises_fisher_moments(dim, kappa):
    """Returns mean and variance of w = ⟨μ, x⟩ for x ~ vMF(μ, κ).

    The mean of x itself is E[w] μ.

    Args:
        dim: int >= 2. Dimension d of the space around the sphere.
        kappa: number >= 0. Concentration κ.

    Returns:
        `(mean, variance)`, floats.

    Raises:
        ValueError: if `dim` or `kappa` is not such a number.

    Example:

    >>> mean, var = su_models.ops.von_mises_fisher_moments(dim=3, kappa=20)
    >>> round(mean, 6), round(var, 6)
    (0.95, 0.0025)
    """
    law = _Angle(dim, kappa)
    distance = law.expect(lambda phi: 2 * np.sin(phi / 2) ** 2)  # 1 - w
    square = law.expect(lambda p: (2 * np.sin(p / 2) ** 2 - distance) ** 2)
    return float(1 - distance), float(square)


def von_mises_fisher_kl(dim, kappa):
    """Returns the divergence of vMF(μ, κ) from the uniform distribution.

    It depends neither on μ nor on other learned quantities, so a vMF-VAE may
    omit it from its loss:

        KL = κ E[w] + log C_{d,κ} - log C_{d,0}

    Args:
        dim: int >= 2. Dimension d of the space around the sphere.
        kappa: number >= 0. Concentration κ.

    Returns:
        A float, in nats.

    Raises:
        ValueError: if `dim` or `kappa` is not such a number.

    Example:

    >>> round(su_models.ops.von_mises_fisher_kl(dim=3, kappa=20), 6)
    2.688879
    """
    law, uniform = _Angle(dim, kappa), _Angle(dim, 0)
    distance = law.expect(lambda phi: 2 * np.sin(phi / 2) ** 2)
    return float(uniform.log_total - law.log_total - kappa * distance)


def von_mises_fisher_angles(dim, kappa):
    """Returns cubics that turn standard normal numbers into angles φ.

    If g ~ N(0, 1) then φ(g) = F⁻¹(Φ(g)) has the density p(φ), where F and Φ
    are the cumulative distributions of φ and of g. As a function of g it is
    smooth up to both ends, unlike the quantile of a uniform number.
    On interval i of `INTERVALS` equal ones between ±`REACH`,

        φ = c₀ + t (c₁ + t (c₂ + t c₃)),   t from 0 to 1

    takes the values and the slopes of φ(g) at both ends.

    Args:
        dim: int >= 2. Dimension d of the space around the sphere.
        kappa: number >= 0. Concentration κ.

    Returns:
        c, a float64 array `(INTERVALS, 4)`.

    Raises:
        ValueError: if `dim` or `kappa` is not such a number.
    """
    g = np.linspace(-REACH, REACH, INTERVALS + 1)
    law = _Angle(dim, kappa)
    phi = law.quantile(g)
    normal = np.exp(-(g**2) / 2) / math.sqrt(2 * math.pi)
    slope = normal / law.density(phi) * (g[1] - g[0])
    rise, start, end = np.diff(phi), slope[:-1], slope[1:]
    return np.stack(
        [
            phi[:-1],
            start,
            3 * rise - 2 * start - end,
            start + end - 2 * rise,
        ],
        axis=-1,
    )


class _Angle:
    """The distribution of the angle φ, divided into panels."""

    def __init__(self, dim, kappa):
        self.power = check_integer("dim", dim, least=2) - 2
        self.kappa = check_not_negative("kappa", kappa)
        self.peak = 0.0
        mode, width = self._mode()
        self.peak = float(self._log(np.float64(mode)))
        low, high = max(0.0, mode - 16 * width), min(np.pi, mode + 16 * width)
        self.edges = np.linspace(low, high, _PANELS + 1)
        mass = self._integral(self.edges[:-1], self.edges[1:])
        self.total = mass.sum()
        self.log_total = self.peak + math.log(self.total)
        zero = np.zeros(1)
        self.left = np.concatenate([zero, np.cumsum(mass)]) / self.total
        self.right = np.concatenate([np.cumsum(mass[::-1])[::-1], zero])
        self.right /= self.total

    def _mode(self):
        """Returns the mode of the density, and its width there."""
        n, k = self.power, self.kappa
        if n == 0:
            return 0.0, (1 / math.sqrt(k) if k else np.inf)
        # κ sin² φ = n cos φ
        cos = 2 * k / (n + math.hypot(n, 2 * k))
        sin_square = n * cos / k if k else 1.0
        width = 1 / math.sqrt(k * cos + n / sin_square)
        return math.atan2(math.sqrt(sin_square), cos), width

    def _log(self, phi):
        """Returns log of exp(κ (cos φ - 1)) sin^(d-2) φ, minus its maximum."""
        log = -2 * self.kappa * np.sin(phi / 2) ** 2 - self.peak
        return log + self.power * np.log(np.sin(phi)) if self.power else log

    def _integral(self, a, b, f=None):
        half = (b - a) / 2
        x = (a + b)[..., None] / 2 + half[..., None] * _NODES
        y = np.exp(self._log(x))
        return ((y if f is None else y * f(x)) * _WEIGHTS).sum(-1) * half

    def expect(self, f):
        parts = self._integral(self.edges[:-1], self.edges[1:], f)
        return parts.sum() / self.total

    def density(self, phi):
        return np.exp(self._log(phi)) / self.total

    def quantile(self, g):
        """Solves F(φ) = Φ(g) from the nearer end, exact for small masses."""
        tail = np.array([math.erfc(abs(x) / math.sqrt(2)) / 2 for x in g])
        from_right = g > 0
        panel = np.where(
            from_right,
            _PANELS - np.searchsorted(self.right[::-1], tail),
            np.searchsorted(self.left, tail) - 1,
        )
        panel = np.clip(panel, 0, _PANELS - 1)
        low, high = self.edges[panel], self.edges[panel + 1]
        start = np.where(from_right, high, low)
        sign = np.where(from_right, -1.0, 1.0)
        passed = np.where(from_right, self.right[panel + 1], self.left[panel])
        missing = (tail - passed) * self.total
        phi = (low + high) / 2
        for _ in range(60):  # Newton's method, safeguarded by bisection
            excess = sign * self._integral(start, phi) - missing
            beyond = sign * excess > 0
            low, high = np.where(beyond, low, phi), np.where(beyond, phi, high)
            step = phi - sign * excess / np.exp(self._log(phi))
            inside = (low < step) & (step < high)
            step = np.where(inside, step, (low + high) / 2)
            moved, phi = np.abs(step - phi), step
            if (moved <= 1e-15 * phi).all():
                break
        return phi
