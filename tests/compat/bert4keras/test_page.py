"""docs/from_bert4keras.md is true: names exist, and its code runs."""

import importlib
import json
import pathlib
import re

import pytest

import su_models.compat.bert4keras.keras_backend as K
from su_models.compat.bert4keras.models import build_transformer_model

ROOT = pathlib.Path(__file__).parents[3]
TEXT = (ROOT / "docs/from_bert4keras.md").read_text("utf-8")

# what bert4keras 0.11.5 defines, without an underscore in front
NAMES = {
    "backend": """Sinusoidal align apply_rotary_position_embeddings
        attention_normalize batch_gather custom_objects
        divisible_temporal_padding do_recompute dtype flatten gelu_erf
        gelu_tanh get_available_gpus graph_mode_decorator is_tf_keras
        leaky_relu multilabel_categorical_crossentropy piecewise_linear pool1d
        recompute_grad reshape root_mean_square search_layer sequence_masking
        set_gelu sinusoidal_embeddings
        sparse_multilabel_categorical_crossentropy swish symbolic where
        keras K""",
    "layers": """BatchConcat BatchSplit Concatenate1D ConditionalRandomField
        EfficientGlobalPointer Embedding FeedForward GatedAttentionUnit
        GlobalAveragePooling1D GlobalMaxPooling1D GlobalPointer Layer
        LayerNormalization Loss MaximumEntropyMarkovModel Model
        MultiHeadAttention Node NodeBase PositionEmbedding
        RelativePositionEmbedding RelativePositionEmbeddingT5 ScaleOffset
        SinusoidalPositionEmbedding custom_objects integerize_shape""",
    "models": """ALBERT ALBERT_Unshared BERT ELECTRA GPT GPT2 GPT2_ML LM_Mask
        NEZHA RoFormer RoFormerV2 T5 T5_Base T5_Decoder T5_Encoder Transformer
        UniLM_Mask build_transformer_model data_parallel
        extend_with_language_model extend_with_unified_language_model""",
    "optimizers": """AdaFactor AdaFactorBase AdaFactorV1 AdaFactorV2 Adam Lion
        LionV2 custom_objects export_to_custom_objects
        extend_with_exponential_moving_average
        extend_with_gradient_accumulation extend_with_layer_adaptation
        extend_with_lazy_optimization extend_with_lookahead
        extend_with_parameter_wise_lr extend_with_piecewise_linear_lr
        extend_with_weight_decay""",
    "snippets": """AutoRegressiveDecoder DataGenerator Hook ViterbiDecoder
        WebServing basestring convert_to_str convert_to_unicode
        delete_arguments insert_arguments is_one_of is_py2 is_string
        longest_common_subsequence longest_common_substring
        lowercase_and_normalize open orthogonally_resize parallel_apply
        parallel_apply_generator sequence_padding softmax strQ2B
        string_matching text_segmentate to_array truncate_sequences uniout""",
    "tokenizers": """SpTokenizer Tokenizer TokenizerBase load_vocab
        save_vocab""",
}


def rows(module):
    """Yields the names of each row of a module's table, and its second cell."""
    section = TEXT.split(f"\n### `{module}`\n")[1].split("\n### ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            _, names, here, *_ = line.split("|")
            yield re.findall(r"`(.+?)`", names), here.strip()


@pytest.mark.parametrize("module", NAMES)
def test_every_name_of_bert4keras_is_in_the_table(module):
    listed = [name for names, _ in rows(module) for name in names]
    assert sorted(listed) == sorted(NAMES[module].split())


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_the_table_says(module):
    there = importlib.import_module(f"su_models.compat.bert4keras.{module}")
    for names, here in rows(module):
        for name in names:
            if here.startswith("no:"):
                assert not hasattr(there, name), name
            elif here.startswith(("=", "that", "for", "see", "`keras")):
                assert hasattr(there, name), name


def test_every_function_of_k_is_listed():
    (line,) = re.findall(r"^Functions of `K`: (.*?)\. Any", TEXT, re.M | re.S)
    listed = re.findall(r"`(\w+)`", line)
    functions = {
        name
        for name in dir(K)
        if not name.startswith("_") and callable(getattr(K, name))
    }
    assert sorted(listed) == sorted(functions - {"gradients", "function"})


def test_the_script_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"床前明月光疑是地上霜"]
    words = list(dict.fromkeys(words))
    pathlib.Path("vocab.txt").write_text("\n".join(words), "utf-8")
    config = {
        "vocab_size": len(words),
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 9,
        "hidden_act": "gelu",
        "max_position_embeddings": 40,
        "type_vocab_size": 2,
    }
    pathlib.Path("bert_config.json").write_text(json.dumps(config))
    build_transformer_model(
        "bert_config.json", with_mlm=True, return_keras_model=False
    ).save_weights_as_checkpoint("bert_model.ckpt")
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    exec(compile(code, "from_bert4keras.md", "exec"), {})
    assert pathlib.Path("best_model.weights.h5").exists()
    assert capsys.readouterr().out
