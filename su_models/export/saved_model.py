"""SavedModel: a model that TensorFlow loads without its Python code."""

import keras

from su_models.backend.compile import compiled
from su_models.backend.selection import require_backend, runs_on
from su_models.utils.files import replacing_folder

# for each TensorFlow, the newest JAX whose StableHLO it was seen to read
READABLE = {(2, 21): (0, 10)}

# attributes of the loaded artifact in addition to its endpoints
_TAKEN = {
    "serve",
    "serving_default",
    "signatures",
    "graph_debug_info",
    "tensorflow_version",
    "variables",
    "trainable_variables",
    "non_trainable_variables",
}


def export_saved_model(model, path, endpoints=None):
    """Writes a model, and further functions, as a SavedModel.

    The artifact needs neither Keras nor this library. It is written next to
    `path` and then renamed, so that it is complete or absent, and a previous
    artifact is replaced only at the end. The model is not changed.

    Args:
        model: a built `keras.Model`, functional or `Sequential`. It becomes
            the endpoint `serve`, in inference mode, whose single argument has
            the structure of the inputs.
        path: str or `pathlib.Path`, a folder. An existing folder must be
            empty or a SavedModel.
        endpoints: optional dict from names to functions of tensors, which
            become methods of the artifact. TensorFlow backend only. Each is

            * `(fn, input_signature)`: `fn` is compiled by XLA as a whole;
              the signature is a list of `keras.InputSpec`, one for each
              argument;
            * or a function with an attribute `input_signature`, made of
              compiled parts, as `Sampler.endpoint` returns it.

    Raises:
        ValueError: if the path holds something else, or `model` or an
            endpoint is not as described.
        OSError: if the path cannot be written.
        NotImplementedError: on PyTorch, for endpoints on JAX, and if JAX is
            newer than TensorFlow can read.

    Example:

        sample = sampler.endpoint(net, batch_size=64)
        export_saved_model(net, "saved_model", endpoints={"sample": sample})

    In another program, keep a reference to the artifact, since its variables
    are deleted with it:

        artifact = tf.saved_model.load("saved_model")
        images = artifact.sample(seed=0, num_samples=1000)
    """
    require_backend("Export of a SavedModel", "tensorflow", "jax")
    if endpoints:
        require_backend("Export of `endpoints`", "tensorflow")
    if runs_on("jax"):
        _check_versions()
    signature = _model_signature(model)
    functions = {
        name: _function(name, endpoint)
        for name, endpoint in (endpoints or {}).items()
    }
    with replacing_folder(path, _check_replaceable) as written:
        archive = keras.export.ExportArchive()
        archive.track(model)
        options = {}
        if runs_on("tensorflow"):
            _keep_one_copy(archive, model)
        if runs_on("jax"):
            # with gradients, loading warns that they are unusable
            options = {"jax2tf_kwargs": {"with_gradient": False}}
        archive.add_endpoint("serve", model.__call__, signature, **options)
        for name, (fn, signature) in functions.items():
            archive.add_endpoint(name, fn, signature)
        _write(archive, written, path)


def _write(archive, written, path):
    """Writes the artifact; raises an OSError on a full disk."""
    import tensorflow as tf

    try:
        archive.write_out(str(written), verbose=False)
    except tf.errors.OpError as error:
        reason = error.message.split("; ")[-1].split(" [Op:")[0]
        raise OSError(
            f"`path` cannot be written: {reason}. Received: path={path}"
        ) from error


def _check_versions():
    """Rejects a JAX whose programs this TensorFlow cannot read."""
    import jax
    import tensorflow as tf

    newest = READABLE.get(_minor(tf.__version__))
    if newest and _minor(jax.__version__) > newest:
        raise NotImplementedError(
            f"TensorFlow {tf.__version__} reads programs of JAX up to "
            f"{'.'.join(map(str, newest))}; install "
            f'"jax>=0.10,<{newest[0]}.{newest[1] + 1}". '
            f"Received: jax {jax.__version__}"
        )


def _minor(version):
    """Returns the first two numbers of a version."""
    return tuple(int(part) for part in version.split(".")[:2])


def _keep_one_copy(archive, model):
    """Tracks only TensorFlow's variables, which the functions use.

    With Keras' variables as well, Keras 3.15 would write each weight twice.
    """
    for kind in ("variables", "trainable_variables", "non_trainable_variables"):
        variables = [v.value for v in getattr(model, kind)]
        archive.add_variable_collection(kind, variables)


def _model_signature(model):
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model. Received: {model!r}")
    inputs = getattr(model, "inputs", None)
    if not inputs or not model.built:
        raise ValueError(
            "`model` must be functional or Sequential, and built. "
            f"Received: model={model.name} of {type(model)}"
        )
    return inputs if isinstance(model, keras.Sequential) else [model.input]


def _function(name, endpoint):
    """Returns the function of an endpoint and its signature."""
    if not str(name).isidentifier() or name[0] == "_" or name in _TAKEN:
        raise ValueError(
            "The name of an endpoint must be an identifier without a leading "
            f"underscore, and not one of {sorted(_TAKEN)}. "
            f"Received: name={name!r}"
        )
    if isinstance(endpoint, tuple) and len(endpoint) == 2:
        fn, signature = compiled(endpoint[0]), endpoint[1]
    else:
        fn, signature = endpoint, getattr(endpoint, "input_signature", None)
    if not callable(fn) or not isinstance(signature, (list, tuple)):
        raise ValueError(
            "An endpoint must be `(fn, input_signature)`, or a function with "
            "an attribute `input_signature`, which is a list. "
            f"Received: endpoints[{name!r}]={endpoint!r}"
        )
    return fn, list(signature)


def _check_replaceable(path):
    """Rejects a path that holds something other than an artifact."""
    if path.is_dir():
        if (path / "saved_model.pb").exists() or not any(path.iterdir()):
            return
    raise ValueError(
        "`path` must be a new folder, an empty one, or a SavedModel. "
        f"Received: path={path}"
    )
