"""bert4keras' `models`: classes to subclass, and the function that builds."""

import functools

import keras
import numpy as np

from su_models.checkpoints.load_checkpoint import load_checkpoint
from su_models.checkpoints.open_checkpoint import open_checkpoint
from su_models.checkpoints.plan import find_families, find_places
from su_models.checkpoints.save_checkpoint import save_checkpoint
from su_models.compat.bert4keras.backend import chosen_activation
from su_models.compat.bert4keras.layers import Add, Embedding
from su_models.layers.core.embedding import Embedding as OurEmbedding
from su_models.models.transformer.albert import ALBERT as OurALBERT
from su_models.models.transformer.albert import ALBERTUnshared
from su_models.models.transformer.base import Transformer as OurTransformer
from su_models.models.transformer.bert import BERT as OurBERT
from su_models.models.transformer.build import MODELS
from su_models.models.transformer.build import (
    build_transformer_model as our_build_transformer_model,
)
from su_models.models.transformer.electra import ELECTRA as OurELECTRA
from su_models.models.transformer.gpt import GPT as OurGPT
from su_models.models.transformer.gpt2 import GPT2 as OurGPT2
from su_models.models.transformer.gpt2_ml import GPT2ML
from su_models.models.transformer.masks import LMMask as LM_Mask
from su_models.models.transformer.masks import UniLMMask as UniLM_Mask
from su_models.models.transformer.masks import (
    extend_with_language_model,
    extend_with_unified_language_model,
)
from su_models.models.transformer.nezha import NEZHA as OurNEZHA
from su_models.models.transformer.roformer import RoFormer as OurRoFormer
from su_models.models.transformer.roformer_v2 import RoFormerV2 as OurRoFormerV2
from su_models.models.transformer.t5 import T5 as OurT5
from su_models.models.transformer.t5 import T5Base, T5Decoder, T5Encoder
from su_models.models.transformer.vocabulary import row_chooser

__all__ = [
    "ALBERT",
    "ALBERT_Unshared",
    "BERT",
    "ELECTRA",
    "GPT",
    "GPT2",
    "GPT2_ML",
    "LM_Mask",
    "NEZHA",
    "RoFormer",
    "RoFormerV2",
    "T5",
    "T5_Base",
    "T5_Decoder",
    "T5_Encoder",
    "Transformer",
    "UniLM_Mask",
    "build_transformer_model",
    "extend_with_language_model",
    "extend_with_unified_language_model",
]

# layers of Keras that subclasses apply, and those that keep masks or `mode`
_REPLACED = {keras.layers.Add: Add, OurEmbedding: Embedding}


class Transformer(OurTransformer):
    """`su_models.models.transformer.base.Transformer`, as in bert4keras.

    It has the methods that subclasses override or call: `get_inputs`,
    `apply_embeddings`, `apply_main_layers`, `apply_final_layers`, `apply`,
    `compute_attention_bias`, `compute_position_bias`, `variable_mapping` ...

    Args: see there; `hidden_act="gelu"` is the GELU of `set_gelu`.
    """

    family = None  # whose names the weights have in checkpoints

    def __init__(self, hidden_act=None, **kwargs):
        several = isinstance(hidden_act, (list, tuple))
        hidden_act = (
            [chosen_activation(act) for act in hidden_act]
            if several
            else chosen_activation(hidden_act)
        )
        super().__init__(hidden_act=hidden_act, **kwargs)

    def build(
        self,
        attention_caches=None,
        layer_norm_cond=None,
        layer_norm_cond_hidden_size=None,
        layer_norm_cond_hidden_act=None,
        additional_input_layers=None,
    ):
        if attention_caches:
            raise NotImplementedError(
                "`attention_caches` are not part of a Keras 3 model; "
                "`su_models.models.generate` decodes with a cache."
            )
        super().build(
            layer_norm_cond,
            layer_norm_cond_hidden_size,
            layer_norm_cond_hidden_act,
            additional_input_layers,
        )

    @property
    def built(self):
        """Whether `build` was called."""
        return self.model is not None

    def apply(self, inputs=None, layer=None, arguments=None, **kwargs):
        layer = _REPLACED.get(layer, layer)
        if layer is keras.layers.Lambda and arguments:
            layer = functools.partial(layer, arguments=arguments)
            arguments = None
        return super().apply(inputs, layer, arguments, **kwargs)

    def simplify(self, inputs):
        """Returns a list without None; its only entry, if it has one."""
        inputs = [x for x in inputs if x is not None]
        return inputs[0] if len(inputs) == 1 else inputs

    # ---- checkpoints

    def variable_mapping(self):
        """Returns the names of weights in Google's checkpoints.

        Returns:
            A dict from names of layers, without the prefix, to lists of names
            in the order of the layer's weights.
        """
        mapping = {}
        for family in find_families(self.family):
            for column in family.columns:
                if column.format == "tf1" and not mapping:
                    places, _ = find_places(
                        self.model, family, column, self.prefix
                    )
                    for place in places:
                        if place.source is not None:
                            names = mapping.setdefault(place.layer, [])
                            names.append(place.source.name)
        return mapping

    def load_weights_from_checkpoint(self, checkpoint, mapping=None):
        """Sets the weights to those of a checkpoint.

        Args:
            checkpoint: path; see `su_models.checkpoints.load_checkpoint`.
            mapping: optional dict like that of `variable_mapping`, which a
                subclass may override, for checkpoints with other names.
        """
        rows = row_chooser(
            self.full_vocab_size, self.keep_tokens, self.compound_tokens
        )
        own = type(self).variable_mapping is not Transformer.variable_mapping
        if mapping is None and own:
            mapping = self.variable_mapping()
        if mapping is not None:
            self._load(checkpoint, mapping, rows)
            return
        load_checkpoint(
            self.model,
            checkpoint,
            self.family,
            self.prefix,
            rows,
            self.ignore_invalid_weights,
            self.autoresize_weights,
        )

    def _load(self, checkpoint, mapping, rows):
        """Sets the weights of layers to tensors with the given names."""
        with open_checkpoint(checkpoint) as tensors:
            for name, sources in mapping.items():
                layer = self.layers.get(self.prefixed(name))
                variables = [] if layer is None else layer.trainable_weights
                for variable, source in zip(variables, sources, strict=False):
                    if source not in tensors and self.ignore_invalid_weights:
                        continue
                    value = tensors[source]
                    if rows is not None and len(value) == self.full_vocab_size:
                        value = rows(value)
                    if source.endswith("seq_relationship/output_weights"):
                        value = value.T
                    # heads have axes of their own here
                    variable.assign(np.reshape(value, variable.shape))

    def save_weights_as_checkpoint(self, filename, mapping=None, dtype=None):
        """Writes the weights as a checkpoint of TensorFlow 1.

        Args:
            filename: path; see `su_models.checkpoints.save_checkpoint`.
            mapping, dtype: None; the names and dtypes cannot be chosen here.
        """
        if mapping is not None or dtype is not None:
            raise NotImplementedError(
                "`mapping` and `dtype` must be None here; "
                "`su_models.checkpoints.convert_checkpoint` converts files."
            )
        save_checkpoint(self.model, filename, self.family, self.prefix, "tf1")


class BERT(OurBERT, Transformer):
    """`su_models.models.transformer.bert.BERT`, as in bert4keras."""

    family = "bert"


class ALBERT(OurALBERT, BERT):
    """ALBERT, as in bert4keras."""

    family = "albert"


class ALBERT_Unshared(ALBERTUnshared, BERT):  # noqa: N801
    """ALBERT with the weights of each block of its own, as in bert4keras."""

    family = "albert_unshared"


class NEZHA(OurNEZHA, BERT):
    """NEZHA, as in bert4keras."""

    family = "nezha"


class RoFormer(OurRoFormer, NEZHA):
    """RoFormer, as in bert4keras."""

    family = "roformer"


class RoFormerV2(OurRoFormerV2, RoFormer):
    """RoFormerV2, as in bert4keras."""

    family = "roformer_v2"


class ELECTRA(OurELECTRA, BERT):
    """ELECTRA, as in bert4keras."""

    family = "electra"


class GPT(OurGPT, BERT):
    """GPT, as in bert4keras."""

    family = "gpt"


class GPT2(OurGPT2, GPT):
    """GPT-2, as in bert4keras."""

    family = "gpt2"


class GPT2_ML(GPT2ML, GPT):  # noqa: N801
    """GPT2_ML, as in bert4keras."""

    family = "gpt2_ml"


class T5_Base(T5Base, Transformer):  # noqa: N801
    """Base of the encoder and the decoder of T5, as in bert4keras."""

    @property
    def family(self):
        """The name of the version, such as "t5.1.1"."""
        return self.version


class T5_Encoder(T5Encoder, T5_Base):  # noqa: N801
    """The encoder of T5, as in bert4keras."""


class T5_Decoder(T5Decoder, T5_Base):  # noqa: N801
    """The decoder of T5, as in bert4keras."""


class T5(OurT5, T5_Base):
    """T5, as in bert4keras; `encoder` and `decoder` are separate models."""


_ADAPTED = {
    OurBERT: BERT,
    OurALBERT: ALBERT,
    ALBERTUnshared: ALBERT_Unshared,
    OurNEZHA: NEZHA,
    OurRoFormer: RoFormer,
    OurRoFormerV2: RoFormerV2,
    OurELECTRA: ELECTRA,
    OurGPT: GPT,
    OurGPT2: GPT2,
    GPT2ML: GPT2_ML,
    OurT5: T5,
    T5Encoder: T5_Encoder,
    T5Decoder: T5_Decoder,
}
_MODELS = {
    name: _ADAPTED[cls] for name, cls in MODELS.items() if cls in _ADAPTED
}


def build_transformer_model(
    config_path=None,
    checkpoint_path=None,
    model="bert",
    application="encoder",
    return_keras_model=True,
    **kwargs,
):
    """Builds a Transformer; see `su_models.models.build_transformer_model`.

    The object of `return_keras_model=False` has bert4keras' methods, and the
    layers of the model have `get_output_at(i)`, their outputs in call i.

    Args: see there; `model` may be a subclass of the classes of this module.
    """
    cls, name = model, None
    if isinstance(model, str):
        name = model.lower()
        cls = _MODELS.get(name, model)
    if isinstance(cls, str) or not issubclass(cls, Transformer):
        return our_build_transformer_model(
            config_path,
            checkpoint_path,
            cls,
            application,
            return_keras_model,
            **kwargs,
        )
    if name and issubclass(cls, T5_Base) and "." in name:
        kwargs = {"version": name.partition("_")[0], **kwargs}
    transformer = our_build_transformer_model(
        config_path, None, cls, application, False, **kwargs
    )
    if name == "roberta":
        transformer.family = name
    if checkpoint_path is not None:
        transformer.load_weights_from_checkpoint(checkpoint_path)
    for layer in transformer.model.layers:
        layer.get_output_at = functools.partial(_output_at, layer)
    return transformer.model if return_keras_model else transformer


def _output_at(layer, node_index):
    """Returns the output of a layer in one of its calls."""
    outputs = layer._inbound_nodes[node_index].output_tensors
    return outputs[0] if len(outputs) == 1 else outputs
