"""Article: https://kexue.fm/archives/7787, https://kexue.fm/archives/8796

Article: https://kexue.fm/archives/9660, https://kexue.fm/archives/10289
"""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from keras import ops

from tests.contract import to_numpy

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FLOW = example("gradient_flow")


# ---- article 7787


def test_descent_follows_the_modified_flow_to_second_order():
    errors, orders = FLOW.order_of_errors([0.1, 0.05, 0.025])
    np.testing.assert_allclose(orders[:, 0], 1.0, atol=0.1)
    np.testing.assert_allclose(orders[:, 1], 2.0, atol=0.2)
    assert (errors[:, 1] < errors[:, 0] / 5).all()


def test_on_a_parabola_all_three_are_known(monkeypatch):
    """L = θ², rate 0.05, 20 steps: 0.9²⁰, e⁻², and e^(-2.1) for L + γ/4 L'²."""
    monkeypatch.setattr(FLOW, "loss", lambda x: ops.sum(x**2))
    start = ops.ones(1)
    end = to_numpy(FLOW.descend(start, 0.05, 20))
    np.testing.assert_allclose(end, 0.121576655, rtol=1e-5)
    for hidden, expected in ((0.0, 0.135335283), (0.05, np.exp(-2.1))):
        end = to_numpy(FLOW.flow(start, hidden, 0.05, 20))
        np.testing.assert_allclose(end, expected, rtol=1e-5)


# ---- article 8796


def test_input_gradients_are_bounded_by_parameter_gradients():
    sides = FLOW.inequality(50)
    assert (sides[:, 0] < sides[:, 1]).all() and (sides[:, 0] > 0).all()


def test_the_bound_is_met_by_a_network_of_one_number():
    sides = FLOW.inequality(5, widths=(1, 1))
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=1e-4)


def test_the_network_is_that_of_eq_1():
    rng = np.random.default_rng(0)
    x, w, b, v, c = (rng.normal(size=s) for s in (3, (4, 3), 4, (2, 4), 2))
    f, outputs = FLOW.network(
        *(ops.convert_to_tensor(z) for z in (x, w, b, v, c))
    )
    h = np.tanh(w @ x + b)
    np.testing.assert_allclose(to_numpy(outputs[1]), h, rtol=1e-5)
    y = np.tanh(v @ h + c)
    np.testing.assert_allclose(to_numpy(f), (y**2).sum() / 2, rtol=1e-5)


# ---- article 9660


def test_fokker_planck_keeps_the_mass_and_the_closed_form():
    grid = np.linspace(-6, 6, 401)
    width = grid[1] - grid[0]
    target = FLOW.normal_density(grid, 0, 1)
    start = FLOW.normal_density(grid, FLOW.MEAN, FLOW.VARIANCE)
    end = FLOW.fokker_planck(start, target, width, 0.7)
    np.testing.assert_allclose(end.sum(), start.sum(), rtol=1e-12)
    assert (end >= 0).all()
    exact = FLOW.normal_density(grid, *FLOW.closed_form(0.7))
    np.testing.assert_allclose(end, exact, atol=2e-3)
    still = FLOW.fokker_planck(target, target, width, 0.7)
    np.testing.assert_allclose(still, target, atol=1e-12)


def test_jko_step_is_the_minimum():
    mean, variance, alpha = 2.0, 0.3, 0.4
    found = FLOW.jko_step(mean, variance, alpha)

    def objective(m, v):  # Eq. (15) for normals
        square = (m - mean) ** 2 + (v**0.5 - variance**0.5) ** 2
        return square / (2 * alpha) + FLOW.kl_of_normals(m, v)

    for m in (-1e-3, 0.0, 1e-3):
        for v in (-1e-3, 0.0, 1e-3):
            if m or v:
                away = objective(found[0] + m, found[1] + v)
                assert away > objective(*found)


def test_jko_steps_follow_the_flow_to_first_order():
    errors = []
    for steps in (20, 40):
        state = FLOW.MEAN, FLOW.VARIANCE
        for _ in range(steps):
            before = FLOW.kl_of_normals(*state)
            state = FLOW.jko_step(*state, 1.0 / steps)
            assert FLOW.kl_of_normals(*state) < before
        errors.append(np.subtract(state, FLOW.closed_form(1.0)))
    np.testing.assert_allclose(errors[0] / errors[1], 2.0, atol=0.1)


def test_score_is_that_of_the_mixture():
    x = np.linspace(-3, 3, 7)
    score = FLOW.mixture_score(ops.cast(x[:, None], "float32"), None)
    rise = [np.log(FLOW.mixture_density(x + s * 1e-4)) for s in (1, -1)]
    expected = (rise[0] - rise[1]) / 2e-4
    np.testing.assert_allclose(to_numpy(score)[:, 0], expected, atol=1e-3)


def test_three_ways_to_the_normal_agree():
    times, moments = FLOW.normal_flows(2000, 0.025, checks=4)
    exact = np.array(FLOW.closed_form(times)).T
    assert len(moments) == 3 and times[-1] == pytest.approx(3.0)
    for each in moments.values():
        np.testing.assert_allclose(each, exact, atol=0.15)


# ---- article 10289


def test_sparsemax_is_the_nearest_probability_vector():
    x = np.array(FLOW.POINT)
    p = FLOW.sparsemax(x)
    np.testing.assert_allclose(p, [0.575, 0.425, 0.0], atol=1e-12)
    others = np.random.default_rng(0).dirichlet(np.ones(3), 500)
    assert (((others - x) ** 2).sum(axis=-1) >= ((p - x) ** 2).sum()).all()
    vectors, gaps = FLOW.simplex([1, 30, 300])
    assert gaps[0] > gaps[1] > gaps[2]
    np.testing.assert_allclose(vectors[-1], p, atol=5e-3)


@pytest.mark.slow
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gradient_flow.py", "--smoke"])
    FLOW.main()
    folder = tmp_path / "runs" / "smoke-gradient-flow"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["least_ratio_of_sides"] > 1
    np.testing.assert_allclose(metrics["mass"], metrics["mass"][0], rtol=1e-9)
    for name in ("descent", "distributions"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
