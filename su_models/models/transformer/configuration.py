"""Configurations of checkpoints: names of their keys, and checks."""

import inspect
import json
import pathlib

from su_models.models.transformer.hugging_face import from_hugging_face
from su_models.utils.nearest import edit_distance, nearest

# maps other names of arguments to those of this library and bert4keras
ALIASES = {
    "max_position_embeddings": "max_position",
    "hidden_dropout_prob": "dropout_rate",
    "attention_probs_dropout_prob": "attention_dropout_rate",
    "type_vocab_size": "segment_vocab_size",
    "layer_norm_eps": "layer_norm_epsilon",
    "rms_norm_eps": "layer_norm_epsilon",
    "rope_theta": "rotary_base",
}


def read_configuration(path, arguments, cls):
    """Returns the arguments of a family from its configuration and a call.

    Args:
        path: optional path of a JSON file, or of a folder with
            `config.json`. Unknown keys are ignored, unless they resemble a
            missing argument.
        arguments: dict; takes precedence over the file.
        cls: subclass of `Transformer`.

    Returns:
        A pair of dicts: arguments of the constructor and of `build`.

    Raises:
        ValueError: if the file is not a JSON object, a name is unknown, a
            required one is missing, or two names of an argument disagree.
    """
    known, required = _parameters(cls, "__init__")
    building, _ = _parameters(cls, "build")
    given, names = {}, ALIASES
    if path is not None:
        given, theirs = from_hugging_face(_load(path), cls)
        names = ALIASES | theirs
    for key in given:
        _check_spelling(key, given, known, path, names)
    file = _renamed(given, "the configuration", names)
    call = _renamed(arguments, "the arguments")
    for name in call:
        if name not in known | building:
            guess = nearest(name, sorted(known | building))
            raise ValueError(
                f"{cls.__name__} takes no argument `{name}`; did you mean "
                f"`{guess}`? Received: {name}={call[name]!r}"
            )
    every = {**{k: v for k, v in file.items() if k in known}, **call}
    missing = sorted(required - {*every})
    if missing:
        raise ValueError(
            f"{cls.__name__} needs {', '.join(missing)}, in `config_path` or "
            f"as arguments. Received: config_path={path}, "
            f"arguments {sorted(arguments)}"
        )
    return (
        {k: v for k, v in every.items() if k in known},
        {k: v for k, v in every.items() if k in building},
    )


def _parameters(cls, method):
    """Returns the names of all and of the required arguments of a method.

    A subclass passes its `**kwargs` on to its base classes.
    """
    known, required = set(), set()
    for base in cls.__mro__:
        if method not in vars(base) or base is object:
            continue
        for name, parameter in inspect.signature(
            vars(base)[method]
        ).parameters.items():
            if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.default is parameter.empty and name not in known:
                required.add(name)
            known.add(name)
    return known - {*cls.rejected}, required


def _load(path):
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            "`config_path` must be a JSON file that can be read. "
            f"Received: config_path={path} ({error})"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            "The configuration must be a JSON object. "
            f"Received: config_path={path}, which holds {config!r:.80}"
        )
    return config


def _renamed(config, where, names=ALIASES):
    """Returns the dict with the library's names."""
    made = {}
    for key, value in config.items():
        name = names.get(key, key)
        if name in made and made[name] != value:
            both = {k: config[k] for k in config if names.get(k, k) == name}
            raise ValueError(
                f"Two names of one argument disagree in {where}. "
                f"Received: {both}"
            )
        made[name] = value
    return made


def _check_spelling(key, config, known, path, names):
    """Rejects a key that differs by one or two letters from a missing one."""
    words = {*known, *(k for k, v in names.items() if v in known)}
    if key in words or len(key) < 6:
        return
    guess = nearest(key, sorted(words))
    if guess not in config and edit_distance(key, guess) <= 2:
        raise ValueError(
            f"The configuration has an unknown key; did you mean `{guess}`? "
            f"Received: {key}={config[key]!r}, config_path={path}"
        )
