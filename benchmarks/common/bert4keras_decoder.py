"""bert4keras' beam search of a UniLM, in a separate process and environment.

The interpreter named by SU_MODELS_LEGACY_PYTHON runs this file as a module:
bert4keras needs Keras 2.
"""

from benchmarks.common.peer_process import serve

PREDICT, PROGRAM = "predict", "tf.function"
FORMS = PREDICT, PROGRAM


class _Served:
    """The decoders in that process.

    The form `predict` is that of the author's scripts; `tf.function` calls
    the model in one program for all lengths, without `tf.data`.
    """

    def build(self, folder, prompts, max_new_tokens):
        import numpy as np
        import tensorflow as tf
        from bert4keras.models import build_transformer_model
        from bert4keras.snippets import AutoRegressiveDecoder

        model = build_transformer_model(
            f"{folder}/config.json",
            f"{folder}/encoder.ckpt",
            "roformer",
            application="unilm",
        )
        rows = tf.TensorSpec((None, None), tf.int32)

        class Decoder(AutoRegressiveDecoder):
            @AutoRegressiveDecoder.wraps(default_rtype="probas")
            def predict(self, inputs, output_ids, states):
                tokens, segments = inputs
                tokens = np.concatenate([tokens, output_ids], 1)
                new = np.ones_like(output_ids)
                segments = np.concatenate([segments, new], 1)
                return last(self.last_token(model), [tokens, segments])

        @tf.function(input_signature=[rows, rows])
        def program(tokens, segments):
            return decoder.last_token(model)([tokens, segments], training=False)

        def last(model, inputs):
            if self.form == PREDICT:
                return model.predict(inputs, verbose=0)
            inputs = [tf.constant(x, tf.int32) for x in inputs]
            return program(*inputs).numpy()

        # no token has this id
        decoder = Decoder(start_id=None, end_id=-1, maxlen=max_new_tokens)
        self.decoder, self.prompts = decoder, np.array(prompts)

    def generate(self, form, samples, beams):
        """Returns the ids of the first prompts, one by one."""
        self.form = form
        return [
            self.decoder.beam_search([p, 0 * p], beams).tolist()
            for p in self.prompts[:samples]
        ]


if __name__ == "__main__":
    serve(_Served())
