"""Cached generation by Hugging Face's transformers, in a process of its own.

So the threads of PyTorch do not disturb those of the other backend.
"""

import os

from benchmarks.common.peer_process import serve

FORMS = ("cached",)


class _Served:
    """GPT-2 in that process."""

    def build(self, folder, prompts, max_new_tokens):
        import json
        import pathlib

        import torch
        import transformers
        from safetensors.torch import load_file

        torch.set_num_threads(os.cpu_count())
        sizes = json.loads(pathlib.Path(folder, "config.json").read_text())
        config = transformers.GPT2Config(
            vocab_size=sizes["vocab_size"],
            n_embd=sizes["hidden_size"],
            n_layer=sizes["num_hidden_layers"],
            n_head=sizes["num_attention_heads"],
            n_inner=sizes["intermediate_size"],
            n_positions=sizes["max_position"],
            eos_token_id=None,
            bos_token_id=None,
            pad_token_id=0,
        )
        self.model = transformers.GPT2LMHeadModel(config).eval()
        tensors = load_file(f"{folder}/model.safetensors")
        report = self.model.load_state_dict(tensors, strict=False)
        lacking = [k for k in report.missing_keys if k != "lm_head.weight"]
        if lacking or report.unexpected_keys:
            raise ValueError(f"The checkpoint does not fit. Received: {report}")
        self.model.tie_weights()
        self.prompts = torch.tensor(prompts)
        self.new = max_new_tokens

    def generate(self, form, samples, beams):
        """Returns the ids of the first prompts, as a batch."""
        import torch

        prompts = self.prompts[:samples]
        made = self.model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=self.new,
            num_beams=beams,
            do_sample=False,
            early_stopping=False,
            use_cache=True,
        )
        return made[:, prompts.shape[1] :].tolist()


if __name__ == "__main__":
    serve(_Served())
