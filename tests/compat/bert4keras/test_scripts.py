"""What bert4keras' example scripts do, on tiny random weights.

Each test is a technique of several of its 32 examples, with its imports.
"""

import keras
import numpy as np
import pytest
from keras.layers import Dense, Input, Lambda, Reshape
from keras.models import Model

from su_models.compat.bert4keras.backend import (
    K,
    batch_gather,
    sparse_multilabel_categorical_crossentropy,
)
from su_models.compat.bert4keras.layers import (
    ConditionalRandomField,
    EfficientGlobalPointer,
    LayerNormalization,
    Loss,
)
from su_models.compat.bert4keras.models import build_transformer_model
from su_models.compat.bert4keras.optimizers import (
    Adam,
    extend_with_exponential_moving_average,
    extend_with_piecewise_linear_lr,
)
from su_models.compat.bert4keras.snippets import (
    AutoRegressiveDecoder,
    DataGenerator,
    ViterbiDecoder,
    sequence_padding,
    to_array,
)
from su_models.compat.bert4keras.tokenizers import Tokenizer, load_vocab

# Keras' `Lambda` has no mask, and says so
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* with a mask attached")

TEXTS = ["今天天气不错", "很好", "书不好看", "天气好"]
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 9,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "max_position": 32,
}


@pytest.fixture
def vocabulary(tmp_path):
    words = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##好"]
    path = tmp_path / "vocab.txt"
    words += sorted({*"".join(TEXTS)})
    path.write_text("\n".join(words) + "\n", "utf-8")
    return path


class Batches(DataGenerator):
    """Yields ids and segments, and targets of a function of the sample."""

    def __init__(self, data, tokenizer, targets=None, batch_size=2):
        super().__init__(data, batch_size)
        self.tokenizer, self.targets = tokenizer, targets

    def __iter__(self, random=False):
        token_ids, segment_ids, targets = [], [], []
        for is_end, item in self.sample(random):
            texts = [item] if isinstance(item, str) else item
            ids, segments = self.tokenizer.encode(*texts, maxlen=16)
            token_ids.append(ids)
            segment_ids.append(segments)
            if self.targets:
                targets.append(self.targets(ids))
            if len(token_ids) == self.batch_size or is_end:
                batch = [*map(sequence_padding, (token_ids, segment_ids))]
                yield batch, sequence_padding(targets) if targets else None
                token_ids, segment_ids, targets = [], [], []


class CrossEntropy(Loss):
    def compute_loss(self, inputs, mask=None):
        y_true, y_mask, y_pred = inputs
        y_true = y_true[:, 1:]
        y_mask = y_mask[:, 1:]
        y_pred = y_pred[:, :-1]
        loss = K.sparse_categorical_crossentropy(y_true, y_pred)
        return K.sum(loss * y_mask) / K.sum(y_mask)


def fit(model, generator, **kwargs):
    history = model.fit(
        generator.forfit(),
        steps_per_epoch=len(generator),
        shuffle=False,
        verbose=0,
        **kwargs,
    )
    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    return losses


def test_seq2seq_by_unilm(vocabulary, tmp_path):
    token_dict, keep_tokens = load_vocab(
        vocabulary,
        simplified=True,
        startswith=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    )
    tokenizer = Tokenizer(token_dict, do_lower_case=True)
    model = build_transformer_model(
        application="unilm",
        keep_tokens=keep_tokens,
        vocab_size=len(vocabulary.read_text("utf-8").split()),
        **SIZES,
    )
    output = CrossEntropy(2)(model.inputs + model.outputs)
    model = Model(model.inputs, output)
    model.compile(optimizer=Adam(1e-2))
    generator = Batches([(t, t[:2]) for t in TEXTS] * 2, tokenizer)
    losses = fit(model, generator, epochs=3)
    assert losses[-1] < losses[0]

    class AutoTitle(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            token_ids, segment_ids = inputs
            token_ids = np.concatenate([token_ids, output_ids], 1)
            ones = np.ones_like(output_ids)
            segment_ids = np.concatenate([segment_ids, ones], 1)
            return self.last_token(model).predict([token_ids, segment_ids])

        def generate(self, text, topk=1):
            inputs = tokenizer.encode(text, maxlen=10)
            ids = self.beam_search([*inputs], topk=topk)
            return tokenizer.decode(ids)

    title = AutoTitle(None, tokenizer._token_end_id, maxlen=3)
    written = title.generate(TEXTS[0], topk=2)
    assert isinstance(written, str)
    model.save_weights(tmp_path / "best_model.weights.h5")
    model.load_weights(tmp_path / "best_model.weights.h5")
    assert title.generate(TEXTS[0], topk=2) == written


def test_classification_with_a_schedule(vocabulary):
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    bert = build_transformer_model(
        model="albert",
        return_keras_model=False,
        vocab_size=tokenizer._vocab_size,
        **SIZES,
    )
    output = Lambda(lambda x: x[:, 0])(bert.model.output)
    output = Dense(2, "softmax", kernel_initializer=bert.initializer)(output)
    model = keras.models.Model(bert.model.input, output)
    AdamLR = extend_with_piecewise_linear_lr(Adam, name="AdamLR")
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=AdamLR(learning_rate=1e-2, lr_schedule={1: 1, 9: 0.1}),
        metrics=["accuracy"],
    )
    generator = Batches(TEXTS, tokenizer, lambda ids: [len(ids) % 2])
    fit(model, generator)
    for x, y in generator:
        assert model.predict(x, verbose=0).shape == (len(y), 2)


def test_labels_by_crf(vocabulary):
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    model = build_transformer_model(vocab_size=tokenizer._vocab_size, **SIZES)
    output = model.get_layer("Transformer-1-FeedForward-Norm").output
    output = Dense(3)(output)
    CRF = ConditionalRandomField(lr_multiplier=100)
    model = Model(model.input, CRF(output))
    model.compile(
        loss=CRF.sparse_loss,
        optimizer=Adam(1e-3),
        metrics=[CRF.sparse_accuracy],
    )
    generator = Batches(TEXTS, tokenizer, lambda ids: np.arange(len(ids)) % 3.0)
    fit(model, generator)
    decoder = ViterbiDecoder(trans=K.eval(CRF.trans), starts=[0], ends=[0])
    decoder.trans = K.eval(CRF.trans)
    tokens = tokenizer.tokenize(TEXTS[0])
    token_ids = tokenizer.tokens_to_ids(tokens)
    token_ids, segment_ids = to_array([token_ids], [[0] * len(token_ids)])
    nodes = model.predict([token_ids, segment_ids], verbose=0)[0]
    labels = decoder.decode(nodes)
    assert labels[0] == labels[-1] == 0 and len(labels) == len(tokens)


class Spans(Batches):
    """Yields start and end of entities of two types, and of pairs."""

    def __iter__(self, random=False):
        for (ids, segments), _ in super().__iter__(random):
            entities = np.zeros((len(ids), 2, 3, 2), int)
            entities[:, 0, 0] = 1, 2
            pairs = np.zeros((len(ids), 4, 1, 2), int)
            yield [ids, segments], [entities, pairs]


def globalpointer_crossentropy(y_true, y_pred):
    shape = K.shape(y_pred)
    y_true = y_true[..., 0] * K.cast(shape[2], K.floatx()) + y_true[..., 1]
    y_pred = K.reshape(y_pred, (shape[0], -1, K.prod(shape[2:])))
    loss = sparse_multilabel_categorical_crossentropy(y_true, y_pred, True)
    return K.mean(K.sum(loss, axis=1))


def test_relations_by_pointers_with_averaged_weights(vocabulary):
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    base = build_transformer_model(
        return_keras_model=False, vocab_size=tokenizer._vocab_size, **SIZES
    )
    entities = EfficientGlobalPointer(heads=2, head_size=4)(base.model.output)
    heads = EfficientGlobalPointer(4, 4, RoPE=False, tril_mask=False)(
        base.model.output
    )
    model = keras.models.Model(base.model.inputs, [entities, heads])
    AdamEMA = extend_with_exponential_moving_average(Adam, name="AdamEMA")
    optimizer = AdamEMA(learning_rate=1e-2)
    model.compile(loss=globalpointer_crossentropy, optimizer=optimizer)

    class Evaluator(keras.callbacks.Callback):
        def __init__(self):
            self.moved = 0.0  # without super().__init__(), as in the examples

        def on_epoch_end(self, epoch, logs=None):
            before = model.get_weights()[0]
            optimizer.apply_ema_weights()
            self.moved = np.abs(model.get_weights()[0] - before).max()
            optimizer.reset_old_weights()

    evaluator = Evaluator()
    losses = fit(
        model, Spans(TEXTS * 2, tokenizer), epochs=3, callbacks=[evaluator]
    )
    assert losses[-1] < losses[0] and evaluator.moved > 0


class Subjects(Batches):
    def __iter__(self, random=False):
        for (ids, segments), _ in super().__iter__(random):
            labels = np.zeros((*ids.shape, 2))
            labels[:, 1] = 1
            places = np.array([[1, 2]] * len(ids))
            objects = np.zeros((*ids.shape, 3, 2))
            yield [ids, segments, labels, places, objects], None


def extract_subject(inputs):
    output, subject_ids = inputs
    start = batch_gather(output, subject_ids[:, :1])
    end = batch_gather(output, subject_ids[:, 1:])
    return K.concatenate([start, end], 2)[:, 0]


class TotalLoss(Loss):
    def compute_loss(self, inputs, mask=None):
        subject_labels, object_labels = inputs[:2]
        subject_preds, object_preds, _ = inputs[2:]
        mask = K.cast(mask[4], K.floatx())
        subject_loss = K.binary_crossentropy(subject_labels, subject_preds)
        subject_loss = K.mean(subject_loss, 2)
        subject_loss = K.sum(subject_loss * mask) / K.sum(mask)
        object_loss = K.binary_crossentropy(object_labels, object_preds)
        object_loss = K.sum(K.mean(object_loss, 3), 2)
        return subject_loss + K.sum(object_loss * mask) / K.sum(mask)


def test_relations_by_conditional_normalization(vocabulary):
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    subject_labels = Input(shape=(None, 2), name="Subject-Labels")
    subject_ids = Input(shape=(2,), name="Subject-Ids")
    object_labels = Input(shape=(None, 3, 2), name="Object-Labels")
    bert = build_transformer_model(
        return_keras_model=False, vocab_size=tokenizer._vocab_size, **SIZES
    )
    output = Dense(2, "sigmoid")(bert.model.output)
    subject_preds = Lambda(lambda x: x**2)(output)
    output = bert.model.layers[-2].get_output_at(-1)
    subject = Lambda(extract_subject)([output, subject_ids])
    output = LayerNormalization(conditional=True)([output, subject])
    output = Dense(6, "sigmoid")(output)
    object_preds = Reshape((-1, 3, 2))(Lambda(lambda x: x**4)(output))
    preds = TotalLoss([2, 3])(
        [
            subject_labels,
            object_labels,
            subject_preds,
            object_preds,
            bert.model.output,
        ]
    )
    model = Model(
        bert.model.inputs + [subject_labels, subject_ids, object_labels], preds
    )
    model.compile(optimizer=Adam(1e-3))
    fit(model, Subjects(TEXTS, tokenizer))


class BinaryRandomChoice(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[1]

    def call(self, inputs):
        source, target = inputs
        mask = K.random_binomial(shape=[1], p=0.5)
        output = mask * source + (1 - mask) * target
        return K.in_train_phase(output, target)

    def compute_output_shape(self, input_shape):
        return input_shape[1]


def test_two_transformers_in_one_model(vocabulary):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no global random numbers in a compiled step")
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    sizes = {**SIZES, "vocab_size": tokenizer._vocab_size}
    predecessor, successor = (
        build_transformer_model(
            return_keras_model=False,
            prefix=prefix,
            **{**sizes, "num_hidden_layers": layers},
        )
        for prefix, layers in (("Predecessor-", 2), ("Successor-", 1))
    )
    inputs = predecessor.inputs
    for layer in predecessor.model.layers:
        layer.trainable = False
    choose = BinaryRandomChoice()
    x = choose([t.apply_embeddings(inputs) for t in (predecessor, successor)])
    theirs = x
    for index in range(2):
        theirs = predecessor.apply_main_layers(theirs, index)
    x = BinaryRandomChoice()([theirs, successor.apply_main_layers(x, 0)])
    model = Model(inputs, x)
    given = next(iter(Batches(TEXTS, tokenizer)))[0]
    np.testing.assert_allclose(
        model.predict(given, verbose=0),
        successor.model.predict(given, verbose=0),
        atol=1e-5,
    )
    before = [len(model.trainable_weights), predecessor.model.get_weights()]
    model.compile("sgd", "mse")
    model.fit(given, np.zeros((2, given[0].shape[1], 8)), verbose=0)
    assert before[0] == len(successor.model.trainable_weights)
    for a, b in zip(before[1], predecessor.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_encoder_and_decoder_of_t5(vocabulary):
    tokenizer = Tokenizer(str(vocabulary), do_lower_case=True)
    t5 = build_transformer_model(
        model="mt5.1.1",
        return_keras_model=False,
        name="T5",
        vocab_size=tokenizer._vocab_size,
        **{**SIZES, "hidden_act": ["gelu", "linear"]},
    )

    class Titles(AutoRegressiveDecoder):
        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            model = self.last_token(t5.decoder)
            return model.predict([inputs[0], output_ids])

    ids, _ = tokenizer.encode(TEXTS[0])
    encoded = t5.encoder.predict(np.array([ids]), verbose=0)[0]
    titles = Titles(0, tokenizer._token_end_id, 4)
    found = titles.beam_search([encoded], topk=2)
    assert found[0] == 0 and len(found) <= 5
    # the likeliest continuation, with the whole model
    ids = np.array([ids], "int32")
    greedy = Titles(0, -1, 3).beam_search([encoded], topk=1)
    p = t5.model.predict([ids, greedy[None, :-1]], verbose=0)[0]
    np.testing.assert_array_equal(p.argmax(-1), greedy[1:])
