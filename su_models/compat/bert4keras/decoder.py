"""bert4keras' decoder of one sequence, with any function that predicts."""

import functools

import keras
import numpy as np

from su_models.utils.checks import check_choice, check_size

_TINY = 1e-12  # added to probabilities before the logarithm
_KINDS = ("probas", "logits")


def softmax(x, axis=-1):
    """Returns the softmax of an array."""
    x = np.asarray(x)
    x = np.exp(x - x.max(axis=axis, keepdims=True))
    return x / x.sum(axis=axis, keepdims=True)


class LastToken(keras.Model):
    """A model that returns the outputs of another at the last position.

    `predict` takes all samples as one batch, and prints nothing.
    """

    def predict(self, x, *args, **kwargs):
        """Returns the outputs for a batch, NumPy arrays."""
        if isinstance(x, (list, tuple)):
            x = [np.asarray(i) for i in x]
        elif isinstance(x, np.ndarray):
            x = [x]  # the form of the model's inputs
        return self.predict_on_batch(x)


class AutoRegressiveDecoder:
    """Writes a sequence token by token, by beam search or by sampling.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    A subclass defines `predict`, decorated by `wraps`, which returns the
    probabilities of the next token for several prefixes. It may call any
    model, several models, or none. The loop is NumPy code without a cache,
    one input at a time; `su_models.models.generate` decodes batches in one
    compiled program.

    As in bert4keras, the beam search has no length penalty, ends as soon as
    the best sequence is complete, and drops other complete sequences.

    Args:
        start_id: optional int. The first token, which `predict` receives and
            the results contain; None if results begin with nothing.
        end_id: int. The token that ends a sequence.
        maxlen: int > 0. Largest number of tokens to generate.
        minlen: int. Sequences with fewer tokens, counting `start_id`, do not
            end.
    """

    def __init__(self, start_id, end_id, maxlen, minlen=1):
        self.start_id = start_id
        self.end_id = end_id
        self.maxlen = check_size("maxlen", maxlen)
        self.minlen = minlen
        self.models = {}
        first = [] if start_id is None else [start_id]
        self.first_output_ids = np.array([first], "int64")

    @staticmethod
    def wraps(default_rtype="probas", use_states=False):
        """Returns a decorator of `predict`.

        Args:
            default_rtype: what the decorated method returns: "probas" or
                "logits".
            use_states: bool. Whether it returns a pair of these and the
                states for the next step.

        Returns:
            A decorator; the decorated method also takes a temperature, and
            returns probabilities or, for `rtype="logits"`, their logarithms,
            and the states.
        """
        check_choice("default_rtype", default_rtype, _KINDS)

        def decorate(predict):
            @functools.wraps(predict)
            def predicted(
                self,
                inputs,
                output_ids,
                states,
                temperature=1,
                rtype=default_rtype,
            ):
                check_choice("rtype", rtype, _KINDS)
                made = predict(self, inputs, output_ids, states)
                scores, states = made if use_states else (made, None)
                if default_rtype == "logits":
                    scores = softmax(scores / temperature)
                elif temperature != 1:
                    scores = _normalized(np.power(scores, 1.0 / temperature))
                if rtype == "logits":
                    scores = np.log(scores + _TINY)
                return scores, states

            return predicted

        return decorate

    def last_token(self, model):
        """Returns a model with the outputs of `model` at the last position."""
        if model not in self.models:
            outputs = [x[:, -1] for x in model.outputs]
            # Keras 3 returns a list for a list, even of one
            outputs = outputs if len(outputs) > 1 else outputs[0]
            self.models[model] = LastToken(model.inputs, outputs)
        return self.models[model]

    def predict(self, inputs, output_ids, states=None):
        """Returns the probabilities of the next token.

        Args:
            inputs: list of arrays, the inputs of the search, `(k, ...)`.
            output_ids: the tokens so far, `(k, n)`.
            states: what the previous step returned.

        Returns:
            An array `(k, vocabulary)`, and the states; see `wraps`.
        """
        raise NotImplementedError(f"{type(self).__name__}.predict")

    def beam_search(self, inputs, topk, states=None, temperature=1, min_ends=1):
        """Returns the tokens of the sequence with the largest probability.

        Args:
            inputs: list of arrays, for one sample.
            topk: int > 0. Number of sequences that are kept.
            states: the states for the first step.
            temperature: number > 0.
            min_ends: int. A sequence is complete with this many `end_id`s.
        """
        inputs = [np.array([i]) for i in inputs]
        ids, totals = self.first_output_ids, np.zeros(1)
        for step in range(self.maxlen):
            scores, states = self.predict(
                inputs, ids, states, temperature, "logits"
            )
            if step == 0:
                inputs = [np.repeat(i, topk, axis=0) for i in inputs]
            scores = totals[:, None] + scores  # (k, vocabulary)
            best = scores.argpartition(-topk, axis=None)[-topk:]
            rows, tokens = np.unravel_index(best, scores.shape)
            ids = np.concatenate([ids[rows], tokens[:, None]], axis=1)
            totals = scores.ravel()[best]
            if ids.shape[1] < self.minlen:
                continue
            complete = self._complete(ids, min_ends)
            if complete[totals.argmax()]:
                break
            if complete.any():
                inputs = [i[~complete] for i in inputs]
                ids, totals = ids[~complete], totals[~complete]
                topk = len(ids)
        return ids[totals.argmax()]

    def random_sample(
        self,
        inputs,
        n,
        topk=None,
        topp=None,
        states=None,
        temperature=1,
        min_ends=1,
    ):
        """Returns n sampled sequences, a list of arrays.

        The numbers are from NumPy's global generator (`numpy.random.seed`).

        Args:
            inputs: list of arrays, for one sample.
            n: int > 0. Number of sequences.
            topk: optional int. Each token is one of the k likeliest.
            topp: optional number in (0, 1]. Each token is one of the
                likeliest whose probabilities sum up to this.
            states, temperature, min_ends: see `beam_search`.
        """
        inputs = [np.array([i]) for i in inputs]
        ids, results = self.first_output_ids, []
        for step in range(self.maxlen):
            probas, states = self.predict(
                inputs, ids, states, temperature, "probas"
            )
            probas = _normalized(np.asarray(probas, "float64"))
            if step == 0:
                probas, ids, *inputs = (
                    np.repeat(x, n, axis=0) for x in (probas, ids, *inputs)
                )
            tokens = _draw(probas, topk, topp)
            ids = np.concatenate([ids, tokens[:, None]], axis=1)
            if ids.shape[1] < self.minlen:
                continue
            complete = self._complete(ids, min_ends)
            results.extend(ids[complete])
            inputs = [i[~complete] for i in inputs]
            ids = ids[~complete]
            if not len(ids):
                break
        return [*results, *ids]

    def _complete(self, ids, min_ends):
        """Tells which sequences end with enough `end_id`s, `(k,)`."""
        ends = ids == self.end_id
        return ends[:, -1] & (ends.sum(axis=1) >= min_ends)


def _normalized(probas):
    return probas / probas.sum(axis=-1, keepdims=True)


def _draw(probas, topk, topp):
    """Returns one token of each row, `(k,)`."""
    tokens = None
    if topk is not None:
        tokens = probas.argpartition(-topk, axis=1)[:, -topk:]
        probas = _normalized(np.take_along_axis(probas, tokens, axis=1))
    if topp is not None:
        order = probas.argsort(axis=1)[:, ::-1]
        probas = np.take_along_axis(probas, order, axis=1)
        # what precedes a token must not reach the sum
        before = np.cumsum(probas, axis=1)[:, :-1] >= topp
        probas[:, 1:][before] = 0.0
        probas = _normalized(probas)
        tokens = (
            order
            if tokens is None
            else np.take_along_axis(tokens, order, axis=1)
        )
    drawn = [np.random.choice(len(row), p=row) for row in probas]
    drawn = np.array(drawn, "int64")[:, None]
    if tokens is not None:
        drawn = np.take_along_axis(tokens, drawn, axis=1)
    return drawn[:, 0]
