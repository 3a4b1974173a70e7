"""Article: https://kexue.fm/archives/5542

Article: https://kexue.fm/archives/7213

Article: https://kexue.fm/archives/8373

Article: https://kexue.fm/archives/8877

Peer: bert4keras, layer by layer, with gradients. It needs Keras 2: see
`legacy.py`.
"""

import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import (
    gradient,
    variable_gradient,
)
from su_models.layers import (
    ConditionalRandomField,
    EfficientGlobalPointer,
    Embedding,
    FeedForward,
    GlobalPointer,
    MaximumEntropyMarkovModel,
    ScaleOffset,
)
from tests.contract import integers, normal, to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity
X = normal(3, 7, 6)
CONDITION = normal(3, 5)
MASK = np.arange(7) < np.array([[7], [4], [1]])
LABELS = integers(6, 3, 7)
IDS = np.where(MASK, integers(9, 3, 7), 0)
IDS[0, 0] = 0

LAYERS = {
    "one": FeedForward(10, "gelu"),
    "gated": FeedForward(10, ["gelu", "linear"], use_bias=False),
    "affine": ScaleOffset(),
    "constant": ScaleOffset(scale=0.3, offset=False),
    "conditional": ScaleOffset(
        conditional=True, hidden_units=3, hidden_activation="tanh"
    ),
    "crf": ConditionalRandomField(),
    "fast_crf": ConditionalRandomField(learning_rate_multiplier=7),
    "memm": MaximumEntropyMarkovModel(),
    "low_rank": MaximumEntropyMarkovModel(7, hidden_dim=2),
    "pointer": GlobalPointer(3, 4),
    "plain_pointer": GlobalPointer(3, 4, None, False, False),
    "efficient": EfficientGlobalPointer(3, 4),
    "plain_efficient": EfficientGlobalPointer(3, 4, None, False, False),
}
EMBEDDING = Embedding(9, 6, mask_zero=True)


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """The results of bert4keras, with our shapes of weights."""
    weights = {}
    for name, layer in [*LAYERS.items(), ("embedding", EMBEDDING)]:
        if name == "conditional":
            layer.build(X.shape, CONDITION.shape)
        else:
            layer.build(X.shape)
        for i, w in enumerate(layer.weights):
            key = f"{name}|{i}"
            random = np.random.default_rng(i)
            weights[key] = random.normal(size=w.shape).astype("float32") / 2
            w.assign(weights[key])
    return run_legacy(
        "legacy_bert4keras_layers.py",
        tmp_path_factory.mktemp("bert4keras"),
        x=X,
        mask=MASK,
        condition=CONDITION,
        labels=LABELS,
        ids=IDS,
        **weights,
    )


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest value."""
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(to_numpy(ours), peers, rtol=0, atol=atol)


def is_masked(name):
    return any(word in name for word in ("crf", "memm", "low", "point", "eff"))


def outputs(name, x):
    if name == "conditional":
        return LAYERS[name](x, CONDITION)
    mask = ops.convert_to_tensor(MASK)
    return LAYERS[name](x, **({"mask": mask} if is_masked(name) else {}))


def score(name, x):
    """The scalar that the peer's script takes gradients of."""
    layer, y = LAYERS[name], outputs(name, x)
    if hasattr(layer, "sparse_loss"):
        return ops.mean(layer.sparse_loss(LABELS, y))
    return ops.sum(ops.square(ops.where(y > -1e9, y, 0.0)))


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_the_peers(peers, name):
    ours, theirs = to_numpy(outputs(name, X)), peers[f"{name}|y"]
    assert ours.shape == theirs.shape
    seen = np.isfinite(theirs)
    assert seen.all() != is_masked(name)
    # the peer has -inf where a span is none, we have -1e12
    assert (ours[~seen] <= -1e12).all()
    assert_close(ours[seen], theirs[seen])


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_peers(peers, name):
    assert_close(score(name, X), peers[f"{name}|value"])
    slopes = [gradient(lambda x: score(name, x), X)]
    weights = LAYERS[name].trainable_weights
    if weights:
        slopes += variable_gradient(lambda: score(name, X), weights)
    for i, slope in enumerate(slopes):
        theirs = peers[f"{name}|slope{i}"]
        assert np.isfinite(theirs).all() and np.abs(theirs).max() > 1e-3
        assert_close(slope, theirs)


@pytest.mark.parametrize("name", ["crf", "fast_crf", "memm", "low_rank"])
def test_accuracies_are_the_peers(peers, name):
    y = outputs(name, X)
    accuracy = LAYERS[name].sparse_accuracy(LABELS, y)
    assert 0 < peers[f"{name}|accuracy"] < 1
    assert_close(accuracy, peers[f"{name}|accuracy"])


def test_embeddings_masks_and_logits_are_the_peers(peers):
    assert_close(EMBEDDING(IDS), peers["embedding|y"])
    mask = to_numpy(EMBEDDING.compute_mask(IDS))
    np.testing.assert_array_equal(mask, peers["embedding|mask"])
    assert_close(EMBEDDING(X, reverse=True), peers["embedding|logits"])
