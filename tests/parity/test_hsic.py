"""Article: https://kexue.fm/archives/6910

Peer: hyppo, whose `Hsic` is the normalised form, HSIC(x, y) over the root of
HSIC(x, x) HSIC(y, y), and the root of that if it is biased. Its own median
heuristic takes the width of x for y too, so the width is given.
"""

import numpy as np
import pytest

from su_models.ops import hsic
from tests.contract import normal, to_numpy

pytestmark = [
    pytest.mark.parity,
    # of the packages that hyppo imports
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]


@pytest.fixture(scope="module")
def independence():
    return pytest.importorskip("hyppo.independence", reason="peer: hyppo")


@pytest.mark.parametrize("sigma", [0.8, 2.0])
@pytest.mark.parametrize("biased", [True, False])
def test_normalised_form(independence, sigma, biased):
    x, y = normal(40, 3), normal(40, 5)[:, :2] + normal(40, 3)[:, :2] ** 2
    peer = independence.Hsic(bias=biased, gamma=1 / sigma**2)
    theirs = peer.statistic(x.astype("float64"), y.astype("float64"))
    if biased:
        theirs = theirs**2
    for estimator in ("biased", "gretton") if biased else ("unbiased",):
        both, xs, ys = (
            to_numpy(hsic(a, b, sigma, estimator))
            for a, b in ((x, y), (x, x), (y, y))
        )
        ours = both / np.sqrt(xs * ys)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
