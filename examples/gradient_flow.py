"""Gradient flows of weights, of particles and of probability vectors.

Article: https://kexue.fm/archives/7787
    《从动力学角度看优化算法（五）：为什么学习率不宜过小？》
Article: https://kexue.fm/archives/8796
    《输入梯度惩罚与参数梯度惩罚的一个不等式》
Article: https://kexue.fm/archives/9660
    《梯度流：探索通向最小值之路》
Article: https://kexue.fm/archives/10289
    《通向最优分布之路：概率空间的最小化》

The experiments need no data, and their exact answers are known. They write two
pictures to runs/gradient-flow/. descent.png shows the path of gradient descent
on (1 - ab)²/2, the flow of the loss, and the flow of the loss with the
gradient penalty that the learning rate implies; the decrease of both errors
with the rate; and the two sides of the inequality between input and parameter
gradients for random networks of three tanh layers. distributions.png shows
particles that follow Langevin dynamics, and the Fokker-Planck equation on a
grid; the flow to N(0, 1) with its closed form, by Langevin dynamics, by a
deterministic flow and by the minimizations that define it; charges in a bowl,
which fill a disk; and the minimization of ‖p - x‖² over probability vectors
with its gap.

python examples/gradient_flow.py
python examples/gradient_flow.py --smoke    (few particles and steps)

Measured on 2026-11-21 by the first command, seed 0, TensorFlow 2.21 on a
shared 2-core Xeon (13 seconds, including matplotlib):

    order of the error of descent, by halving the rate from 0.1 to 0.0125
        against the flow of L                     0.97  0.99  1.00
        against the flow of L + γ/4 ‖∇L‖²         1.84  1.92  1.97
    200 networks: ‖∇_θ f‖² over the other side    1.77 at least
    share of two modes, right: 0.300              0.298 after t = 30,
        on particles and on the grid              whose mass is 1 to 1e-12
    largest error of mean and variance            0.010 0.016 (Langevin),
        on the way to N(0, 1)                     0.004 0.011 (flow),
                                                  0.023 0.025 (α = 0.05)
    mean |x|² of 200 charges at rest              0.4975, which is exact
    Sparsemax after 5000 steps                    6e-7 off, gap 1.4e-7
"""

import argparse
import datetime
import json
import pathlib
import platform
import sys
import time

import keras
import matplotlib
import numpy as np
from keras import ops

from su_models.backend import compiled, gradient
from su_models.ops import minimize_over_simplex
from su_models.sampling import Langevin, WassersteinFlow

FOLDER = pathlib.Path("runs/gradient-flow")
SEED = 0
# weights
START = (1.4, 2.8)
RATE, TIME = 0.07, 1.4
RATES = [0.1 / 2**k for k in range(4)]
ORDER_START, ORDER_TIME = (0.5, 1.6), 1.0
NETWORKS, WIDTHS = 200, (4, 6, 5, 3)
# particles
PARTICLES, STEP_SIZE = 20_000, 0.005
CENTRES, DEVIATION, SHARES = (-1.5, 1.5), 0.6, (0.3, 0.7)
TIMES = (0.0, 0.3, 3.0, 30.0)
MEAN, VARIANCE = 2.5, 0.16  # of the normal particles at time 0
CHARGES = 200
# probability vectors
POINT = (0.7, 0.55, -0.4)


# ---- weights


def loss(theta):
    """(1 - ab)²/2, whose flattest minima are a = b = ±1."""
    return 0.5 * (1.0 - ops.prod(theta)) ** 2


def modified_loss(theta, rate):
    """L + rate/4 ‖∇L‖², which gradient descent follows, Eq. (4)."""
    return loss(theta) + rate / 4 * ops.sum(gradient(loss, theta) ** 2)


def descend(theta, rate, steps):
    """Gradient descent: θ ← θ - rate ∇L."""
    return ops.fori_loop(
        0, steps, lambda _, x: x - rate * gradient(loss, x), theta
    )


def flow(theta, rate, step, steps):
    """The flow of `modified_loss`, by the fourth-order Runge-Kutta method."""

    def slope(x):
        return -gradient(lambda x: modified_loss(x, rate), x)

    def body(_, x):
        a = slope(x)
        b = slope(x + 0.5 * step * a)
        c = slope(x + 0.5 * step * b)
        d = slope(x + step * c)
        return x + step / 6 * (a + 2 * b + 2 * c + d)

    return ops.fori_loop(0, steps, body, theta)


def order_of_errors(rates=None):
    """Errors of descent against both flows at one time, for falling rates."""
    start = np.array(ORDER_START, "float32")
    programs, errors = [compiled(f) for f in (descend, flow)], []
    for rate in rates or RATES:
        steps = round(ORDER_TIME / rate)
        end = numpy(programs[0](start, rate, steps))
        flows = [
            numpy(programs[1](start, hidden, ORDER_TIME / 200, 200))
            for hidden in (0.0, rate)
        ]
        errors.append([np.linalg.norm(end - f) for f in flows])
    errors = np.array(errors)  # (rates, [plain, modified])
    return errors, np.log2(errors[:-1] / errors[1:])


def paths():
    """Points of descent, of the plain and of the modified flow."""
    programs = [compiled(f) for f in (descend, flow)]
    steps, each = round(TIME / RATE), 40
    all_paths = {
        name: [np.array(START, "float32")]
        for name in ("gradient descent", "flow of L", "flow of L + γ/4 ‖∇L‖²")
    }
    down, plain, modified = all_paths.values()
    for _ in range(steps):
        down.append(numpy(programs[0](down[-1], RATE, 1)))
    for path, hidden in ((plain, 0.0), (modified, RATE)):
        for _ in range(4 * steps):
            path.append(numpy(programs[1](path[-1], hidden, RATE / each, 10)))
    return {name: np.array(path) for name, path in all_paths.items()}


def network(x, *parameters):
    """f = Σ h² / 2 of the last layer, and the outputs of all layers."""
    outputs = [x]
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        outputs.append(ops.tanh(ops.matmul(w, outputs[-1]) + b))
    return 0.5 * ops.sum(outputs[-1] ** 2), outputs


def inequality(networks, widths=WIDTHS):
    """Both sides of Eq. (2) of article 8796, for random networks.

    ‖∇_x f‖² Σ_t (1 + ‖h_t‖²) / (‖W_t‖² ‖∇_x h_t‖²) ≤ ‖∇_θ f‖²

    with spectral norms of the matrices.
    """
    rng, sides = np.random.default_rng(SEED), []

    def program(*arguments):
        slopes = gradient(lambda *a: network(*a)[0], *arguments)
        return slopes, network(*arguments)[1]

    program = compiled(program)
    for _ in range(networks):
        arguments = [rng.normal(size=widths[0])]
        for m, n in zip(widths[1:], widths[:-1], strict=True):
            arguments += [rng.normal(size=(m, n)) / n**0.5, rng.normal(size=m)]
        arguments = [a.astype("float32") for a in arguments]
        slopes, outputs = keras.tree.map_structure(numpy, program(*arguments))
        jacobian, total = np.eye(widths[0]), 0.0
        for w, h, above in zip(
            arguments[1::2], outputs[:-1], outputs[1:], strict=True
        ):
            norms = np.linalg.norm(w, 2) * np.linalg.norm(jacobian, 2)
            total += (1 + (h**2).sum()) / norms**2
            jacobian = (1 - above**2)[:, None] * w @ jacobian
        left = (slopes[0] ** 2).sum() * total
        sides.append([left, sum((g**2).sum() for g in slopes[1:])])
    return np.array(sides)


# ---- particles


def mixture_score(x, t):
    """∇log p of the two normals; `t` is not needed."""
    centres = ops.convert_to_tensor(CENTRES, "float32")
    shares = ops.log(ops.convert_to_tensor(SHARES, "float32"))
    logs = shares - (x - centres) ** 2 / (2 * DEVIATION**2)
    pull = (centres - x) / DEVIATION**2
    return ops.sum(ops.softmax(logs) * pull, axis=-1, keepdims=True)


def mixture_density(x):
    """p of the two normals."""
    parts = [
        s * normal_density(x, c, DEVIATION**2)
        for s, c in zip(SHARES, CENTRES, strict=True)
    ]
    return sum(parts)


def normal_density(x, mean, variance):
    """The density of N(mean, variance)."""
    square = (x - mean) ** 2 / variance
    return np.exp(-0.5 * square) / np.sqrt(2 * np.pi * variance)


def fokker_planck(density, target, width, duration):
    """Eq. (22) of article 9660 on a grid: ∂q/∂t = ∇·(q ∇ log(q/p)).

    With r = q/p the flow between two cells is p ∇r. Nothing leaves the grid,
    so the sum is conserved.
    """
    between = np.sqrt(target[1:] * target[:-1])
    # the fastest cell must not lose more than it contains
    fastest = (between[1:] + between[:-1]) / target[1:-1]
    steps = int(np.ceil(duration * fastest.max() / width**2 / 0.9))
    for _ in range(steps):
        ratio = density / target
        current = -between * np.diff(ratio) / width
        current = np.concatenate([[0.0], current, [0.0]])
        density = density - duration / steps * np.diff(current) / width
    return density


def densities(particles, times=TIMES):
    """Particles of Langevin dynamics, and the density on a grid, at times."""
    grid = np.linspace(-4.5, 4.5, 361)
    width, target = grid[1] - grid[0], mixture_density(grid)
    density = normal_density(grid, 0.8, 0.09)
    x = 0.8 + 0.3 * np.random.default_rng(SEED).normal(size=(particles, 1))
    x, shown = x.astype("float32"), []
    for k, (t, before) in enumerate(zip(times, (0.0, *times), strict=False)):
        if t > before:
            steps = round((t - before) / STEP_SIZE)
            x = numpy(Langevin(STEP_SIZE, steps)(mixture_score, x, seed=k))
            density = fokker_planck(density, target, width, t - before)
        shown.append((t, x[:, 0], density))
    return grid, target, shown


def kl_of_normals(mean, variance):
    """KL(N(mean, variance)‖N(0, 1))."""
    return 0.5 * (mean**2 + variance - 1 - np.log(variance))


def jko_step(mean, variance, alpha):
    """argmin W₂²(q, q_t)/2α + KL(q‖N(0, 1)), Eq. (15) of 9660, for normals.

    W₂² = (m - m_t)² + (σ - σ_t)²: m = m_t/(1 + α), and σ is the root of
    (1 + α) σ² - σ_t σ - α = 0.
    """
    s = variance**0.5
    s = (s + np.sqrt(s**2 + 4 * alpha * (1 + alpha))) / (2 * (1 + alpha))
    return mean / (1 + alpha), s**2


def normal_flows(particles, step, checks=12):
    """Moments on the way to N(0, 1) at `checks` times, by three methods."""

    def kl(x):  # of a normal with the particles' moments, and a constant
        return 0.5 * ops.mean(x**2) - 0.5 * ops.log(ops.var(x))

    z = np.random.default_rng(SEED).normal(size=(particles, 1))
    z = (MEAN + VARIANCE**0.5 * (z - z.mean()) / z.std()).astype("float32")
    steps = round(3.0 / step / checks)
    times = step * steps * np.arange(checks + 1)
    samplers = {
        "Langevin dynamics": (Langevin(step, steps), lambda x, t: -x, z),
        "deterministic flow": (WassersteinFlow(step, steps), kl, z[:200]),
    }
    moments = {}
    for name, (sampler, what, x) in samplers.items():
        moments[name] = [[x.mean(), x.var()]]
        for k in range(checks):
            x = numpy(sampler(what, x, seed=k))
            moments[name].append([x.mean(), x.var()])
    jko = [(z.mean(), z.var())]
    for _ in range(checks):
        after = jko[-1]
        for _ in range(5):
            after = jko_step(*after, step * steps / 5)
        jko.append(after)
    moments["minimizations, α = 0.05"] = jko
    return times, {k: np.array(v, "float64") for k, v in moments.items()}


def closed_form(t):
    """The moments at time t on the way to N(0, 1)."""
    return MEAN * np.exp(-t), 1 + (VARIANCE - 1) * np.exp(-2 * t)


def charges(count, steps):
    """Positions of charges, in a bowl, at first and at rest."""

    def energy(x):  # pairs: |x|²/2 - log|x|
        square = ops.sum((x[:, None] - x[None]) ** 2, axis=-1)
        square = square + ops.eye(count)  # no charge acts on itself
        return 0.25 * ops.mean(square - ops.log(square))

    x = np.random.default_rng(SEED).normal(size=(count, 2)) * 0.3 + [0.5, 0.2]
    x = x.astype("float32")
    return x, numpy(WassersteinFlow(0.1, steps)(energy, x))


# ---- probability vectors


def distance(p, x):
    """‖p - x‖²; over probability vectors its minimum is Sparsemax(x)."""
    return ops.sum((p - x) ** 2, axis=-1)


def sparsemax(x):
    """relu(x - λ), λ from the largest entries, Eq. (25) of 10289."""
    falling = np.sort(x)[::-1]
    levels = (np.cumsum(falling) - 1) / np.arange(1, len(x) + 1)
    return np.maximum(x - levels[falling > levels][-1], 0)


def simplex(counts):
    """The best vectors and their gaps after `counts` steps, from the center."""
    x, start = np.array(POINT, "float32"), np.full(3, 1 / 3, "float32")
    each = [
        minimize_over_simplex(
            distance, start, [x], tolerance=0.0, max_steps=count
        )
        for count in counts
    ]
    return np.array([numpy(p) for p, _ in each]), [float(g) for _, g in each]


# ---- pictures


def draw_descent(all_paths, errors, sides, path):
    """Draws paths, orders and the inequality."""
    pyplot = plotting()
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.6), layout="tight")
    a = np.linspace(0.2, 1.6, 200)
    b = np.linspace(1.4, 3.0, 200)
    height = 0.5 * (1 - a * b[:, None]) ** 2
    axes[0].contour(a, b, height, np.geomspace(1e-2, 6, 9), colors="0.85")
    axes[0].plot(a, 1 / a, color="0.5", lw=1, label="minima, ab = 1")
    for (name, points), form in zip(
        all_paths.items(), ("ko", "C0-", "C1--"), strict=True
    ):
        axes[0].plot(*points.T, form, ms=4, label=name)
    axes[0].set(xlabel="a", ylabel="b", xlim=(0.2, 1.6), ylim=(1.4, 3.0))
    axes[0].set_title(f"(1 - ab)²/2, learning rate γ = {RATE}")
    axes[0].legend(loc="lower right")

    for k, (name, mark) in enumerate(
        (("flow of L", "o"), ("flow of L + γ/4 ‖∇L‖²", "s"))
    ):
        axes[1].loglog(RATES, errors[:, k], f"C{k}{mark}", label=name)
        line = errors[0, k] * (np.array(RATES) / RATES[0]) ** (k + 1)
        axes[1].loglog(RATES, line, f"C{k}:", label=f"slope {k + 1}")
    axes[1].set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes[1].minorticks_off()
    axes[1].set(xlabel="learning rate γ", ylabel="distance from descent")
    axes[1].set_title(f"Error after the time {ORDER_TIME:g}")
    axes[1].legend()

    axes[2].loglog(*sides.T, "C0.", label="a random network")
    ends = [sides.min(), sides.max()]
    axes[2].loglog(ends, ends, "k-", lw=1, label="equality")
    axes[2].set(
        xlabel="‖∇ₓf‖² Σ (1 + ‖hₜ‖²) / (‖Wₜ‖² ‖∇ₓhₜ‖²)",
        ylabel="‖∇f‖² of the parameters",
    )
    axes[2].set_title("Input and parameter gradients")
    axes[2].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_distributions(mixture, normals, points, minimization, path):
    """Draws the flows of particles and of a probability vector."""
    pyplot = plotting()
    figure, axes = pyplot.subplots(2, 3, figsize=(15, 9), layout="tight")
    grid, target, shown = mixture
    for k, (t, x, density) in enumerate(shown):
        axes[0, 0].hist(
            x, bins=80, range=(-4, 4), density=True, color=f"C{k}", alpha=0.35
        )
        axes[0, 0].plot(grid, density, f"C{k}", label=f"t = {t:g}")
    axes[0, 0].plot(grid, target, "k:", label="p")
    axes[0, 0].set(xlim=(-4, 4), xlabel="x", ylabel="density")
    axes[0, 0].set_title("Langevin particles; Fokker-Planck (lines)")
    axes[0, 0].legend()

    times, moments = normals
    fine = np.linspace(0, times[-1], 200)
    exact = closed_form(fine)
    kl = kl_of_normals(*exact)
    for axis, curves in ((axes[0, 1], exact), (axes[0, 2], [kl])):
        for k, curve in enumerate(curves):
            label = "closed form" if k == 0 else None
            axis.plot(fine, curve, "0.6", lw=3, label=label)
    for (name, each), mark in zip(moments.items(), "ox+", strict=True):
        for k in range(2):
            label = name if k == 0 else None
            axes[0, 1].plot(times, each[:, k], f"k{mark}", ms=6, label=label)
        axes[0, 2].plot(
            times, kl_of_normals(*each.T), f"k{mark}", ms=6, label=name
        )
    axes[0, 1].annotate("mean", (0.35, 1.9))
    axes[0, 1].annotate("variance", (0.5, 0.5))
    axes[0, 1].set(xlabel="t", title="Moments on the way to N(0, 1)")
    axes[0, 2].set(xlabel="t", yscale="log", ylim=(1e-3, 10))
    axes[0, 2].set_title("KL(q‖N(0, 1)), the functional that falls")
    axes[0, 1].legend()
    axes[0, 2].legend()

    first, last = points
    centre = last.mean(axis=0)
    axes[1, 0].plot(*first.T, ".", color="0.7", label="at first")
    axes[1, 0].plot(*last.T, "C0.", label="at rest")
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)]) + centre[:, None]
    axes[1, 0].plot(*circle, "C1-", label="|x| = 1")
    axes[1, 0].set_aspect("equal")
    axes[1, 0].set_title("Charges: pairs have |x|²/2 - log|x|")
    axes[1, 0].legend(loc="upper right")

    counts, vectors, gaps = minimization
    best = sparsemax(np.array(POINT))
    corners = np.array([[0, 0], [1, 0], [0.5, 0.75**0.5]])
    axes[1, 1].plot(*corners[[0, 1, 2, 0]].T, "k-", lw=1)
    levels = np.random.default_rng(SEED).dirichlet(np.ones(3), 4000)
    height = ((levels - POINT) ** 2).sum(axis=-1)
    axes[1, 1].tricontour(*(levels @ corners).T, height, 14, colors="0.85")
    axes[1, 1].plot(*(vectors @ corners).T, "C0.-", label="steps")
    axes[1, 1].plot(*(best @ corners), "C3*", ms=9, label="Sparsemax(x)")
    for (a, b), name in zip(
        corners, ("p₁ = 1", "p₂ = 1", "p₃ = 1"), strict=True
    ):
        axes[1, 1].text(a - 0.05 if b == 0 else a - 0.17, b - 0.06, name)
    axes[1, 1].set_aspect("equal")
    axes[1, 1].axis("off")
    axes[1, 1].set_title(f"‖p - x‖² over probability vectors, x = {POINT}")
    axes[1, 1].legend()

    least = ((best - POINT) ** 2).sum()
    missing = ((vectors - POINT) ** 2).sum(axis=-1) - least
    axes[1, 2].loglog(counts, gaps, "C0-", label="gap: p·∇F - min ∇F")
    axes[1, 2].loglog(
        counts, np.maximum(missing, 1e-8), "C1-", label="F(p) - min F"
    )
    axes[1, 2].loglog(counts, 4.0 / counts, "k:", label="4/k")
    axes[1, 2].set(xlabel="steps k", title="What the gap certifies")
    axes[1, 2].legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def plotting():
    """Matplotlib without a screen."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def numpy(x):
    """The NumPy array of a tensor."""
    return ops.convert_to_numpy(x)


def main():
    """Runs the experiments, plots them, and prints their errors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="few steps")
    smoke = parser.parse_args().smoke
    folder = FOLDER.with_name(f"smoke-{FOLDER.name}") if smoke else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    particles = 1000 if smoke else PARTICLES

    all_paths = paths()
    errors, orders = order_of_errors()
    sides = inequality(20 if smoke else NETWORKS)
    draw_descent(all_paths, errors, sides, folder / "descent.png")

    mixture = densities(particles, TIMES[:2] if smoke else TIMES)
    times, moments = normal_flows(particles, 0.05 if smoke else STEP_SIZE)
    points = charges(40 if smoke else CHARGES, 50 if smoke else 600)
    counts = np.unique(np.geomspace(1, 100 if smoke else 5000, 40).astype(int))
    vectors, gaps = simplex(counts)
    draw_distributions(
        mixture,
        (times, moments),
        points,
        (counts, vectors, gaps),
        folder / "distributions.png",
    )

    grid, _, shown = mixture
    exact = np.array(closed_form(times)).T
    rest = points[1] - points[1].mean(axis=0)
    metrics = {
        "orders": orders.tolist(),
        "least_ratio_of_sides": float((sides[:, 1] / sides[:, 0]).min()),
        "mass": [float(d.sum() * (grid[1] - grid[0])) for _, _, d in shown],
        "left_share": [float((x < 0).mean()) for _, x, _ in shown],
        "left_share_on_grid": [
            float(d[grid < 0].sum() / d.sum()) for _, _, d in shown
        ],
        "largest_error_of_mean_and_variance": {
            name: np.abs(each - exact).max(axis=0).tolist()
            for name, each in moments.items()
        },
        "mean_square_radius_of_charges": float((rest**2).sum(axis=-1).mean()),
        "sparsemax_error": float(
            np.abs(vectors[-1] - sparsemax(np.array(POINT))).max()
        ),
        "gap": gaps[-1],
        "seconds": round(time.monotonic() - start, 1),
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "machine": platform.machine(),
        "date": datetime.date.today().isoformat(),
    }
    config = {
        "particles": particles,
        "step_size": STEP_SIZE,
        "rates": RATES,
        "widths": WIDTHS,
        "seed": SEED,
    }
    for name, content in (("metrics", metrics), ("config", config)):
        text = json.dumps(content, indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, "utf-8")
    print(json.dumps(metrics, indent=2))
    print(f"\nIn {folder}/: descent.png  distributions.png  *.json")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
