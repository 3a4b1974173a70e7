"""Generation in a SavedModel, by TensorFlow alone.

Article: https://kexue.fm/archives/6933
"""

import concurrent.futures
import subprocess
import sys

import keras
import numpy as np
import pytest

from su_models.backend.compile import compiled
from su_models.export import export_saved_model
from su_models.generation import Trie
from su_models.models import generate, generate_endpoint
from tests.models.decoding.whole import PROMPTS, build

only_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="endpoints need the tensorflow backend",
)
PADDED = np.array([[3, 9, 4, 22, 7], [8, 1, 0, 0, 0], [5, 30, 2, 17, 0]])
OPTIONS = {"end_id": 6, "min_new_tokens": 1}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = build("roformer-unilm")
    endpoint = generate_endpoint(
        model, max_new_tokens=6, max_beam_size=3, **OPTIONS
    )
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    export_saved_model(model, folder, {"generate": endpoint})
    return model, folder


def load(folder):
    import tensorflow as tf

    return tf.saved_model.load(str(folder))


@only_tensorflow
@pytest.mark.parametrize(
    ("beam_size", "n"),
    [(2, 4), *(pytest.param(k, 6, marks=pytest.mark.slow) for k in (1, 3))],
)
def test_the_artifact_generates_the_same(exported, beam_size, n):
    model, folder = exported
    ids = PADDED.astype("int32")
    artifact = load(folder)  # its variables are deleted with it
    got = artifact.generate(ids, 0 * ids, beam_size, n).numpy()
    options = {"beam_size": beam_size, "max_new_tokens": n, **OPTIONS}
    expected = generate(model, PROMPTS, **options)
    np.testing.assert_array_equal(got[:, :n], expected)
    assert not got[:, n:].any()


@only_tensorflow
def test_what_cannot_be_generated_is_minus_1(exported):
    artifact = load(exported[1])
    ids = PADDED.astype("int32")
    right = artifact.generate(ids, 0 * ids, 2, 4).numpy()
    wrong = ids.copy()
    wrong[0, 1], wrong[2] = 31, 0  # not in the vocabulary; no token
    got = artifact.generate(wrong, 0 * ids, 2, 4).numpy()
    assert (got[::2] == -1).all()
    np.testing.assert_array_equal(got[1], right[1])
    for beam_size, n in ((0, 4), (4, 4), (2, 0), (2, 7)):
        got = artifact.generate(ids, 0 * ids, beam_size, n).numpy()
        assert (got == -1).all()


@only_tensorflow
def test_an_encoder_and_decoder():
    model = build("t5.1.1")
    endpoint = generate_endpoint(model, max_new_tokens=5, max_beam_size=2)
    found = compiled(endpoint)(PADDED.astype("int32"), 2, 5)
    expected = generate(model, PROMPTS, beam_size=2, max_new_tokens=5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), expected)


@only_tensorflow
def test_allowing_nothing_is_minus_1():
    def allowed(tokens, step):
        return keras.ops.ones((1, 31), "bool") & (step < 2)

    model = build("gpt2")
    endpoint = generate_endpoint(
        model, max_new_tokens=4, allowed_tokens=allowed
    )
    ids = PADDED.astype("int32")
    found = keras.ops.convert_to_numpy(compiled(endpoint)(ids, 1, 4))
    assert (found == -1).all()
    found = keras.ops.convert_to_numpy(compiled(endpoint)(ids, 1, 2))
    assert (found[:, :2] > -1).all()


@only_tensorflow
def test_prompts_wider_than_the_positions():
    """Only what `generate` refuses is -1, not the rows beside it."""
    model = build("gpt2", max_position=12)
    endpoint = generate_endpoint(model, max_new_tokens=4, max_beam_size=2)
    rows = np.zeros((3, 40), "int32")
    rows[0, :5], rows[1, :9], rows[2, :10] = 3, 5, 7
    found = compiled(endpoint)(rows, 2, 4)
    ids = keras.ops.convert_to_numpy(found)
    assert (ids[2] == -1).all()
    options = {"beam_size": 2, "max_new_tokens": 4}
    np.testing.assert_array_equal(ids[:2], generate(model, rows[:2], **options))
    with pytest.raises(ValueError, match="12 positions"):
        generate(model, rows, **options)
    # one token more than a prompt of 20, cut to 12, would be of another prompt
    rows[2, :20] = 7
    found = keras.ops.convert_to_numpy(compiled(endpoint)(rows, 2, 1))
    assert (found[2] == -1).all() and (found[:2, 0] > -1).all()


@only_tensorflow
@pytest.mark.slow
def test_many_requests_of_several_threads(exported):
    artifact = load(exported[1])
    ids = PADDED.astype("int32")
    requests = [ids, ids[:1], ids[1:, :3], np.pad(ids, ((0, 0), (0, 20)))]

    def answer(number):
        ids = requests[number % len(requests)]
        return artifact.generate(ids, 0 * ids, 2, 4).numpy()

    expected = [answer(i) for i in range(len(requests))]
    before = _memory()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(answer, range(1000))]  # raises what a thread does
    for i, found in enumerate(answers):
        np.testing.assert_array_equal(found, expected[i % len(requests)])
    assert _memory() - before < 64  # MiB


def _memory():
    with open("/proc/self/status") as status:
        (line,) = [x for x in status if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@only_tensorflow
@pytest.mark.slow
def test_a_process_with_tensorflow_alone_generates_the_same(exported):
    model, folder = exported
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "artifact = tf.saved_model.load(sys.argv[1])\n"
        f"ids = np.array({PADDED.tolist()}, 'int32')\n"
        "print(artifact.generate(ids, 0 * ids, 3, 6).numpy().tolist())\n"
        "assert 'su_models' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    options = {"beam_size": 3, "max_new_tokens": 6, **OPTIONS}
    expected = generate(model, PROMPTS, **options).tolist()
    assert done.stdout.splitlines()[-1] == str(expected)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_beam_size": 32}, "max_beam_size=32"),
        ({"end_id": 31}, "end_id=31"),
        ({"allowed_tokens": Trie([[31]])}, "a Trie with 31"),
        ({"start_id": -1}, "start_id=-1"),
        ({"finished": "no"}, "finished='no'"),
    ],
)
def test_bad_arguments_are_rejected(options, match):
    options = {"max_new_tokens": 4, **options}
    with pytest.raises(ValueError, match=match):
        generate_endpoint(build("gpt2"), **options)
