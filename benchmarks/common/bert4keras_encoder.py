"""bert4keras' encoders in a separate process and environment.

The interpreter named by SU_MODELS_LEGACY_PYTHON runs this file as a module:
bert4keras needs Keras 2.

What is measured does not pass through `tf.data`, as `predict_on_batch` does
in Keras 2: the thread that tunes a pipeline can take longer to stop than the
step itself.
"""

from benchmarks.common.peer_process import serve

FORMS = {"graph": False, "XLA": True}  # whether XLA compiles


class _Served:
    """The encoders in that process."""

    def build(self, model, folder, learning_rate):
        import numpy as np
        from bert4keras.models import build_transformer_model
        from tf_keras.layers import Dense, Lambda
        from tf_keras.losses import SparseCategoricalCrossentropy
        from tf_keras.models import Model
        from tf_keras.optimizers import Adam

        encoder = build_transformer_model(
            f"{folder}/config.json", f"{folder}/encoder.ckpt", model
        )
        first = Lambda(lambda x: x[:, 0])(encoder.output)
        head = Dense(2)
        logits = head(first)
        with np.load(f"{folder}/head.npz") as arrays:
            head.set_weights([arrays["kernel"], arrays["bias"]])
        # weights and slots are shared by both forms
        self.optimizer = Adam(learning_rate, epsilon=1e-7)
        self.encoders, self.classifiers = {}, {}
        for form, compiled in FORMS.items():
            self.encoders[form] = Model(encoder.inputs, encoder.output)
            self.encoders[form].compile(jit_compile=compiled)
            self.classifiers[form] = Model(encoder.inputs, logits)
            self.classifiers[form].compile(
                self.optimizer,
                SparseCategoricalCrossentropy(from_logits=True),
                jit_compile=compiled,
            )
        self.weights = self.classifiers["graph"].get_weights()

        self.programs = {
            form: (self._forward(form, c), self._step(form, c))
            for form, c in FORMS.items()
        }

    def _forward(self, form, compiled):
        import tensorflow as tf

        @tf.function(jit_compile=compiled)
        def forward(x):
            return self.encoders[form](x, training=False)

        return forward

    def _step(self, form, compiled):
        import tensorflow as tf

        @tf.function(jit_compile=compiled)
        def step(x, y):
            return self.classifiers[form].train_step((x, y))["loss"]

        return step

    def prepare(self, path):
        import numpy as np
        import tensorflow as tf

        self.classifiers["graph"].set_weights(self.weights)
        with np.load(path) as arrays:
            self.x = [arrays["ids"], arrays["segments"]]
            self.y = arrays["labels"]
        self.batch = (
            [tf.constant(x) for x in self.x],
            tf.constant(self.y),
        )

    def hidden(self, form, path):
        import numpy as np

        np.save(path, self.encoders[form].predict_on_batch(self.x))

    def losses(self, form, steps):
        model = self.classifiers[form]
        model.set_weights(self.weights)
        self.optimizer.build(model.trainable_weights)
        for variable in self.optimizer.variables:
            if "learning_rate" not in variable.name:
                variable.assign(0 * variable)
        return [
            float(model.train_on_batch(self.x, self.y)) for _ in range(steps)
        ]

    def forward(self, form):
        self.programs[form][0](self.batch[0]).numpy()

    def step(self, form):
        self.programs[form][1](*self.batch).numpy()


if __name__ == "__main__":
    serve(_Served())
