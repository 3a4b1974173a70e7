"""The function that builds Transformers of all families."""

import inspect

from su_models.checkpoints.load_checkpoint import load_checkpoint
from su_models.checkpoints.plan import find_families
from su_models.checkpoints.table import weights_of
from su_models.models.transformer.albert import ALBERT, ALBERTUnshared
from su_models.models.transformer.base import Transformer
from su_models.models.transformer.bert import BERT
from su_models.models.transformer.configuration import read_configuration
from su_models.models.transformer.electra import ELECTRA
from su_models.models.transformer.gau_alpha import GAUAlpha
from su_models.models.transformer.gpt import GPT
from su_models.models.transformer.gpt2 import GPT2
from su_models.models.transformer.gpt2_ml import GPT2ML
from su_models.models.transformer.llama import LLaMA
from su_models.models.transformer.masks import (
    extend_with_language_model,
    extend_with_unified_language_model,
)
from su_models.models.transformer.nezha import NEZHA
from su_models.models.transformer.postponed import Postponed, Wait
from su_models.models.transformer.roformer import RoFormer
from su_models.models.transformer.roformer_v2 import RoFormerV2
from su_models.models.transformer.t5 import (
    T5,
    VERSIONS,
    T5Base,
    T5Decoder,
    T5Encoder,
)
from su_models.models.transformer.vocabulary import row_chooser
from su_models.utils.checks import check_choice, check_flag
from su_models.utils.nearest import nearest

MODELS = {
    "bert": BERT,
    "roberta": BERT,
    "albert": ALBERT,
    "albert_unshared": ALBERTUnshared,
    "nezha": NEZHA,
    "roformer": RoFormer,
    "roformer_v2": RoFormerV2,
    "gau_alpha": GAUAlpha,
    "electra": ELECTRA,
    "gpt": GPT,
    "gpt2": GPT2,
    "gpt2_ml": GPT2ML,
    "llama": LLaMA,
    **{
        f"{version}{side}": cls
        for version in ("t5", "t5.1.0", "t5.1.1", "mt5.1.1")
        for side, cls in (
            ("", T5),
            ("_encoder", T5Encoder),
            ("_decoder", T5Decoder),
        )
    },
}
_APPLICATIONS = {
    "encoder": lambda cls: cls,
    "lm": extend_with_language_model,
    "unilm": extend_with_unified_language_model,
}


def build_transformer_model(
    config_path=None,
    checkpoint_path=None,
    model="bert",
    application="encoder",
    return_keras_model=True,
    **kwargs,
):
    """Builds a Transformer, like the function of this name in bert4keras.

    Article: https://kexue.fm/archives/6915
        《自己实现了一个bert4keras》

    The models have the layer names, heads and numbers of bert4keras 0.11.5.

    Args:
        config_path: optional path of the configuration, a JSON file with the
            arguments of the family, or with Google's or Hugging Face's names
            for them; or of a folder with `config.json`. With the folder of
            Hugging Face's bert, roberta, albert, electra, roformer, gpt2,
            openai-gpt, t5, mt5 or llama as `config_path` and as
            `checkpoint_path`, the model has the numbers that it has there; id
            0 is padding, also in RoBERTa.
        checkpoint_path: optional path of weights to load, of TensorFlow 1
            (Google, bert4keras, OpenAI), safetensors (Hugging Face) or
            llama2.c: see `su_models.checkpoints.load_checkpoint`. With
            `keep_tokens` and `compound_tokens`, the model gets the
            corresponding rows of the embeddings.
        model: name of a family, in any case: "bert", "roberta", "albert",
            "albert_unshared", "nezha", "roformer", "roformer_v2",
            "gau_alpha", "electra", "gpt", "gpt2", "gpt2_ml", "llama", "t5",
            "t5.1.0", "t5.1.1" or "mt5.1.1"; the last four also with
            "_encoder" or "_decoder". Or a subclass of
            `su_models.models.transformer.base.Transformer`.
        application: "encoder"; "lm": each token attends to itself and to
            earlier tokens; or "unilm": attention is bidirectional in segment
            0 and causal in segment 1.
        return_keras_model: bool. Whether to return the `keras.Model`. If
            False, returns the object that built it, with `model`, `layers`
            and, for T5, `encoder` and `decoder`.
        **kwargs: arguments of the family, which take precedence over the
            file (see `Transformer`, `BERT` and their subclasses), and of
            `Transformer.build`.

    Returns:
        A functional `keras.Model` of int32 ids `(batch, length)`: tokens,
        then segments and positions if the family has such inputs.

    Raises:
        ValueError: if a name is unknown, the configuration cannot be read or
            contradicts itself, the family has no such application, or the
            checkpoint is damaged or does not fit the model.
        FileNotFoundError: if there is no checkpoint.

    Example:

    >>> model = su_models.models.build_transformer_model(
    ...     model="roformer_v2",
    ...     vocab_size=100,
    ...     hidden_size=32,
    ...     num_hidden_layers=2,
    ...     num_attention_heads=4,
    ...     intermediate_size=64,
    ...     hidden_act="relu",
    ... )
    >>> ids = keras.ops.ones((2, 7), "int32")
    >>> tuple(model([ids, ids]).shape)
    (2, 7, 32)
    """
    cls, version = _family(model)
    check_flag("return_keras_model", return_keras_model)
    application = str(application).lower()
    check_choice("application", application, tuple(_APPLICATIONS))
    if application != "encoder" and issubclass(cls, (ELECTRA, T5Base)):
        raise ValueError(
            f"{cls.__name__} cannot become a language model by a mask. "
            f"Received: model={model!r}, application={application!r}"
        )
    if version is not None:
        kwargs = {"version": version, **kwargs}
    extended = _APPLICATIONS[application](cls)
    arguments, building = read_configuration(config_path, kwargs, extended)
    transformer = extended(**arguments)
    if checkpoint_path is None:
        transformer.build(**building)
    else:
        family, shared = _names(model, transformer), set(transformer.layers)
        waits = cls in MODELS.values()  # others may expect random numbers
        try:
            _restore(transformer, building, checkpoint_path, family, waits)
        except BaseException:
            # what waited for the checkpoint is of no use to other models
            for name in set(transformer.layers) - shared:
                del transformer.layers[name]
            raise
    return transformer.model if return_keras_model else transformer


def _restore(transformer, building, checkpoint_path, family, waits):
    """Builds a model, and loads its weights.

    If it waits, no random numbers are drawn for what the checkpoint has.
    """
    if waits and not transformer.ignore_invalid_weights:
        transformer.wait = Wait()
    transformer.build(**building)
    if transformer.wait is not None:
        transformer.wait.on = False
    load_checkpoint(
        transformer.model,
        checkpoint_path,
        family,
        transformer.prefix,
        row_chooser(
            transformer.full_vocab_size,
            transformer.keep_tokens,
            transformer.compound_tokens,
        ),
        transformer.ignore_invalid_weights,
        transformer.autoresize_weights,
    )
    if transformer.wait is not None:
        _initialize_others(transformer, family)


def _family(model):
    """Returns the class of a family, and the version in its name."""
    if inspect.isclass(model) and issubclass(model, Transformer):
        return model, None
    name = model.lower() if isinstance(model, str) else model
    if not isinstance(name, str) or name not in MODELS:
        guess = nearest(str(name), list(MODELS))
        raise ValueError(
            f"`model` must be the name of a family, or a subclass of "
            f"`Transformer`; did you mean {guess!r}? Received: model={model!r}"
        )
    version = name.partition("_")[0]
    return MODELS[name], version if version in VERSIONS else None


def _initialize_others(transformer, family):
    """Gives random numbers to what no checkpoint of the family has.

    Only weights that waited for this checkpoint get them: not those of layers
    of the user's own, or that another model has too.
    """
    known = find_families(family)[0]
    for name, path, variable in weights_of(
        transformer.model, transformer.prefix
    ):
        if known.find(name, path) is not None:
            continue
        layer = transformer.layers.get(transformer.prefix + name)
        kind = path.rpartition("/")[2]
        initializer = getattr(layer, f"{kind}_initializer", None)
        if (
            isinstance(initializer, Postponed)
            and initializer.wait is transformer.wait
        ):
            made = initializer.clone()
            variable.assign(made(variable.shape, variable.dtype))


def _names(model, transformer):
    """Returns whose names the weights have in checkpoints, None if unknown."""
    if isinstance(transformer, T5Base):
        return transformer.version
    if not inspect.isclass(model):
        return model.lower()
    for base in model.__mro__:
        for name, cls in MODELS.items():
            if cls is base:
                return name
    return None
