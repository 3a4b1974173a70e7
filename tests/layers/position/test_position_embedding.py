"""Article: https://kexue.fm/archives/7947
《层次分解位置编码，让BERT可以处理超长文本》
"""

import keras
import numpy as np
import pytest

from su_models.layers import PositionEmbedding
from tests.contract import JIT, normal, to_numpy

N, DIM = 5, 6


def made(**more):
    layer = PositionEmbedding(N, embeddings_initializer="normal", **more)
    layer.build((None, None, DIM))
    return layer, to_numpy(layer.embeddings).astype("float64")


def decomposed(p, alpha):
    """Eq. (1) and (2) read literally, counted from 1 as the article does."""
    u = {i: (p[i - 1] - alpha * p[0]) / (1 - alpha) for i in range(1, N + 1)}
    q = np.zeros((N * N, DIM))
    for i in u:
        for j in u:
            q[(i - 1) * N + j - 1] = alpha * u[i] + (1 - alpha) * u[j]
    return q


@pytest.mark.parametrize("length", [1, 3, N])
def test_vectors_are_rows_of_the_table(length):
    layer, p = made()
    x = normal(2, length, DIM)
    np.testing.assert_allclose(to_numpy(layer(x)), x + p[:length], rtol=1e-5)


@pytest.mark.parametrize("alpha", [True, 0.4, 0.9])
def test_hierarchy_matches_eq_1_and_2(alpha):
    layer, p = made(hierarchical=alpha)
    q = decomposed(p, 0.4 if alpha is True else alpha)
    for n in (N * N, N + 1, 3):
        got = to_numpy(layer(np.zeros((2, n, DIM), "float32")))
        np.testing.assert_allclose(
            got, np.broadcast_to(q[:n], got.shape), atol=1e-5
        )


def test_hierarchy_leaves_the_trained_positions_exactly():
    (layer, p), x = made(hierarchical=True), np.zeros((1, N + 2, DIM))
    got = to_numpy(layer(x))[0, :N]
    np.testing.assert_array_equal(got, p.astype("float32"))


def test_table_of_bert_reaches_512_squared():
    layer = PositionEmbedding(512, hierarchical=True, merge_mode="zero")
    assert layer.max_length == 512**2 == 262144
    got = to_numpy(layer(np.zeros((1, 262144, 2), "float32")))[0]
    p = to_numpy(layer.embeddings)
    for i, j in [(0, 511), (1, 0), (300, 20), (511, 511)]:
        want = p[j] + 0.4 / 0.6 * (p[i] - p[0])
        np.testing.assert_allclose(got[512 * i + j], want, atol=1e-6)
    assert len(np.unique(got.round(6), axis=0)) > 0.99 * len(got)
    with pytest.raises(ValueError, match="262144 positions. Received"):
        layer(np.zeros((1, 262145, 2), "float32"))


@pytest.mark.parametrize("hierarchical", [None, 0.3])
def test_positions_may_be_given(hierarchical):
    (layer, p), x = made(hierarchical=hierarchical), normal(2, 3, DIM)
    q = decomposed(p, hierarchical) if hierarchical else p
    top = len(q) - 1
    for positions in (
        np.array([2, 0, top]),
        np.array([[1, 1, 0], [top, 3, 2]]),
    ):
        got = to_numpy(layer(x, positions=positions))
        np.testing.assert_allclose(got, x + q[positions], atol=1e-5)


POSITIONS = [np.array([0, -1, 2]), np.array([[0, 1, 2], [0, 1, 25]])]


@pytest.mark.parametrize("hierarchical", [None, 0.3])
@pytest.mark.parametrize("positions", POSITIONS, ids=["-1", "25"])
def test_positions_without_a_vector_are_an_error(hierarchical, positions):
    layer, x = made(hierarchical=hierarchical)[0], normal(2, 3, DIM)
    with pytest.raises(ValueError, match="Received: positions with (-1|25)"):
        layer(x, positions=positions)


@pytest.mark.skipif(not JIT, reason="PyTorch knows them: an error")
@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("hierarchical", [None, 0.3])
@pytest.mark.parametrize("positions", POSITIONS, ids=["-1", "25"])
def test_positions_without_a_vector_are_nan_in_a_graph(
    hierarchical, positions, jit
):
    if not jit and keras.config.backend() == "jax":
        pytest.skip("it is eager, and knows them: an error")
    layer, x = made(hierarchical=hierarchical)[0], normal(2, 3, DIM)
    inputs = keras.Input((None, DIM)), keras.Input((None,), dtype="int32")
    net = keras.Model(inputs, layer(inputs[0], positions=inputs[1]))
    net.compile(jit_compile=jit)
    positions = np.broadcast_to(positions, (2, 3))
    got = net.predict([x, positions], verbose=0)
    wrong = (positions < 0) | (positions >= layer.max_length)
    np.testing.assert_array_equal(np.isnan(got).all(axis=-1), wrong)
    np.testing.assert_array_equal(np.isnan(got).any(axis=-1), wrong)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="lengths are known elsewhere"
)
def test_a_length_beyond_the_table_is_nan_where_it_is_not_known():
    layer, _ = made()
    net = keras.Sequential([keras.Input((None, DIM)), layer])
    import tensorflow as tf

    run = tf.function(net, input_signature=[tf.TensorSpec((2, None, DIM))])
    got = np.isnan(run(normal(2, N + 2, DIM)).numpy())
    assert not got[:, :N].any() and got[:, N:].all()


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the export path"
)
def test_positions_without_a_vector_are_nan_in_a_saved_model(tmp_path):
    layer, _ = made()
    inputs = keras.Input((3, DIM)), keras.Input((3,), dtype="int32")
    net = keras.Model(inputs, layer(inputs[0], positions=inputs[1]))
    net.export(tmp_path, verbose=False)
    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path))
    positions = np.array([[0, 4, 5]], "int32")
    got = served.serve((normal(1, 3, DIM), positions)).numpy()[0]
    np.testing.assert_array_equal(np.isnan(got).all(axis=-1), [0, 0, 1])


def test_repeated_positions_are_trained_as_any_other():
    layer = PositionEmbedding(N, embeddings_initializer="zeros")
    inputs = keras.Input((None, 2)), keras.Input((None,), dtype="int32")
    net = keras.Model(inputs, layer(inputs[0], positions=inputs[1]))
    net.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=JIT)
    data = [np.zeros((1, 3, 2), "float32"), np.array([[1, 1, 4]])]
    net.fit(data, np.ones((1, 3, 2)), verbose=0)
    moved = to_numpy(layer.embeddings)[:, 0]  # Adam's first step
    np.testing.assert_allclose(moved, [0, 0.1, 0, 0, 0.1], atol=1e-5)


def test_longer_inputs_than_positions_are_refused():
    with pytest.raises(ValueError, match=r"5 positions. Received.*\(2, 6, 6\)"):
        made()[0](normal(2, 6, DIM))
    with pytest.raises(ValueError, match=r"25 positions. Received"):
        made(hierarchical=True)[0](normal(2, 26, DIM))


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ({"input_dim": 0}, "Received: input_dim=0"),
        ({"output_dim": 1.5}, "Received: output_dim=1.5"),
        ({"merge_mode": "sum"}, "Received: merge_mode='sum'"),
        ({"hierarchical": 0.5}, "Received: hierarchical=0.5"),
        ({"hierarchical": 1.0}, "Received: hierarchical=1.0"),
        ({"hierarchical": 0.0}, "Received: hierarchical=0.0"),
        ({"hierarchical": "a"}, "Received: hierarchical='a'"),
    ],
)
def test_bad_arguments_are_refused(init, match):
    with pytest.raises(ValueError, match=match):
        PositionEmbedding(**{"input_dim": N, **init})


@pytest.mark.parametrize("shape", [(2, DIM), (2, 3, 4, DIM)])
def test_inputs_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        PositionEmbedding(N)(normal(*shape))


def test_vectors_of_another_size_are_refused():
    with pytest.raises(ValueError, match="Received: output_dim=4"):
        PositionEmbedding(N, 4)(normal(2, 3, DIM))
    with pytest.raises(ValueError, match="Received: positions of"):
        made()[0](normal(2, 3, DIM), positions=np.zeros(4, int))
    for batch in (1, 5):
        with pytest.raises(ValueError, match="Received: positions of shape"):
            made()[0](normal(2, 3, DIM), positions=np.zeros((batch, 3), int))


@pytest.mark.parametrize("kind", ["uint8", "int32"])
@pytest.mark.parametrize("mode", ["add", "mul", "concat", "zero"])
def test_integer_inputs_do_not_round_the_vectors(kind, mode):
    layer, _ = made(merge_mode=mode)
    x = np.arange(2 * 3 * DIM).reshape(2, 3, DIM)
    got, want = layer(x.astype(kind)), layer(x.astype("float32"))
    np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


@pytest.mark.parametrize("mode", ["add", "mul", "concat", "zero"])
def test_h5_gives_the_layer_back(mode, tmp_path):
    net = keras.Sequential([keras.Input((3, DIM)), made(merge_mode=mode)[0]])
    net.save(tmp_path / "net.h5")
    again = keras.saving.load_model(tmp_path / "net.h5")
    assert again.layers[0].get_config() == net.layers[0].get_config()
    x = normal(2, 3, DIM)
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(net(x)))
