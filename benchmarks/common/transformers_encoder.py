"""Encoders of Hugging Face's transformers on PyTorch, in a process of its own.

So its threads do not disturb those of the other backend.
"""

import contextlib
import os

from benchmarks.common.peer_process import serve

FAMILIES = {"bert": "BertModel", "roformer": "RoFormerModel"}
FORMS = ("float32", "bfloat16")


class _Served:
    """The encoders in that process; bfloat16 is PyTorch's autocasting."""

    def build(self, model, folder, learning_rate):
        import json
        import pathlib

        import numpy as np
        import torch
        import transformers
        from safetensors.torch import load_file

        torch.set_num_threads(os.cpu_count())
        cls = getattr(transformers, FAMILIES[model])
        sizes = json.loads(pathlib.Path(folder, "config.json").read_text())
        sizes = {**sizes, "layer_norm_eps": 1e-12}
        if model == "roformer":
            sizes |= {"rotary_value": False}
        config = cls.config_class(**sizes)
        options = {"add_pooling_layer": False} if model == "bert" else {}
        self.encoder = cls(config, **options).eval()
        tensors = load_file(f"{folder}/model.safetensors")
        tensors = {k.removeprefix(f"{model}."): v for k, v in tensors.items()}
        report = self.encoder.load_state_dict(tensors, strict=False)
        sines = "embed_positions"  # which are computed
        lacking = [k for k in report.missing_keys if sines not in k]
        if lacking or report.unexpected_keys:
            raise ValueError(f"The checkpoint does not fit. Received: {report}")
        self.head = torch.nn.Linear(config.hidden_size, 2)
        with np.load(f"{folder}/head.npz") as arrays, torch.no_grad():
            self.head.weight.copy_(torch.tensor(arrays["kernel"].T))
            self.head.bias.copy_(torch.tensor(arrays["bias"]))
        self.both = torch.nn.ModuleList([self.encoder, self.head])
        self.weights = {k: v.clone() for k, v in self.both.state_dict().items()}
        self.learning_rate = learning_rate
        self.optimizer = None

    def prepare(self, path):
        import numpy as np
        import torch

        self.both.load_state_dict(self.weights)
        with np.load(path) as arrays:
            self.ids, self.segments, self.labels = (
                torch.tensor(arrays[key]).long()
                for key in ("ids", "segments", "labels")
            )

    def _hidden(self, form):
        import torch

        casting = contextlib.nullcontext()
        if form == "bfloat16":
            casting = torch.autocast("cpu", torch.bfloat16)
        with casting:
            return self.encoder(
                self.ids,
                token_type_ids=self.segments,
            ).last_hidden_state

    def hidden(self, form, path):
        import numpy as np
        import torch

        with torch.no_grad():
            np.save(path, self._hidden(form).float().numpy())

    def losses(self, form, steps):
        import torch

        self.both.load_state_dict(self.weights)
        self.optimizer = torch.optim.Adam(
            self.both.parameters(), self.learning_rate
        )
        self.steps = 0
        return [self._step(form) for _ in range(steps)]

    def _step(self, form):
        import torch

        self.optimizer.zero_grad()
        logits = self.head(self._hidden(form)[:, 0].float())
        loss = torch.nn.functional.cross_entropy(logits, self.labels)
        loss.backward()
        # Keras adds ε before it corrects the bias of √v
        self.steps += 1
        epsilon = 1e-7 / (1 - 0.999**self.steps) ** 0.5
        for group in self.optimizer.param_groups:
            group["eps"] = epsilon
        self.optimizer.step()
        return float(loss.detach())

    def forward(self, form):
        import torch

        with torch.no_grad():
            self._hidden(form).float().numpy()

    def step(self, form):
        self._step(form)


if __name__ == "__main__":
    serve(_Served())
