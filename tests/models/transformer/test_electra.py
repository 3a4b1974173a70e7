"""Paper: https://arxiv.org/abs/2003.10555"""

import numpy as np

from tests.models.transformer.reference import dense, gelu, weights_of
from tests.models.transformer.test_bert import encode
from tests.models.transformer.tiny import ids, run, tiny


def test_one_probability_a_token():
    model = tiny("electra", with_discriminator=True)
    w = weights_of(model)
    h = gelu(dense(encode(w, ids()), w["Discriminator-Dense"]))
    logits = dense(h, w["Discriminator-Prediction"])
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(run(model, ids()), expected, atol=2e-5)
