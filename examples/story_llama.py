"""Stories of a trained LLaMA with 260 000 weights, token by token.

Article: https://kexue.fm/archives/10091
    《缓存与效果的极限拉扯：从MHA、MQA、GQA到MLA》

Data: `stories260K.bin` of llama2.c, a LLaMA with five blocks, whose eight heads
of queries share four heads of keys and values. A. Karpathy trained it on
TinyStories. It is read as it is, by `build_transformer_model`.

`generate` continues prompts with its cache: once by the most probable tokens,
and several times by sampling with `top_p` 0.9. The script compares the greedy
story with the one that the model tells without a cache, a whole forward pass
for each token, and measures both.

The model's own tokenizer is not part of the data, so the stories are ids of
tokens. With `--tokenizer tok512.model`, the SentencePiece model beside the
published weights, they are text, and `--prompt` may be a text; otherwise it is
a list of ids.

python examples/story_llama.py
python examples/story_llama.py --prompt "403 407 261 378"
python examples/story_llama.py --smoke    (some seconds)

Measured on 2026-12-01 by the first command, seed 0, TensorFlow 2.21 on two
cores of a shared AMD EPYC: 6 872 tokens/s with the cache and 109 without,
medians of 5 stories of 256 tokens, which are equal. The greedy story begins
with 403 407 261 378 432 383 286 261 376 298, as that of llama2.c.

`stories.txt` has the stories. `stories.png` shows for each token how sure the
model was: the probability of the token, and the entropy of all, in bits.
"""

import argparse
import datetime
import io
import os
import pathlib
import statistics
import sys
import time

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from su_models.backend.compile import compiled
from su_models.checkpoints import open_checkpoint
from su_models.models import build_transformer_model, generate
from su_models.runs import RunFolder

FOLDER = pathlib.Path("runs/story-llama")
DATA = "SU_MODELS_DATA"
START = 1  # the first id of each story, and the end of the one before
SEED = 0
TOP_P = 0.9
STORIES = 4  # number of samples
ROUNDS = 5  # of the measurement


def main(words=None):
    """Reads the model, tells stories, checks them and measures."""
    given = arguments(words)
    model, longest = load_model(given.checkpoint)
    tokenizer = load_tokenizer(given.tokenizer, model)
    prompt = [START, *ids_of(given.prompt, tokenizer)]
    length, rounds = (12, 1) if given.smoke else (given.length, ROUNDS)
    check_prompt(prompt, length, model, longest)

    options = {"max_new_tokens": length, "end_id": START}
    greedy = generate(model, [prompt], **options)
    sampled = generate(
        model, [prompt] * STORIES, top_p=TOP_P, seed=SEED, **options
    )
    stories = {"greedy": greedy[0]}
    stories |= {f"sample {i + 1}": row for i, row in enumerate(sampled)}
    without = Uncached(model, len(prompt) + length)
    same = greedy[0] == without(prompt, length)

    figures = {
        "parameters": model.count_params(),
        "cached_tokens_per_second": rate(
            lambda: generate(model, [prompt], max_new_tokens=length),
            length,
            rounds,
        ),
        "uncached_tokens_per_second": rate(
            lambda: without(prompt, length, end=False), length, rounds
        ),
        # almost equally probable tokens may change places by rounding
        "equal_tokens": int(same.cumprod().sum()),
        "seed": SEED,
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }
    text = as_text(prompt, stories, tokenizer)
    folder = FOLDER.with_name(f"smoke-{FOLDER.name}") if given.smoke else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFolder(folder)
    run.write("stories.txt", text.encode())
    run.write_json("metrics.json", figures)
    certain = {name: certainty(model, prompt, s) for name, s in stories.items()}
    run.write("stories.png", as_picture(certain))
    print(text)
    print(
        f"Without a cache, the first {figures['equal_tokens']} tokens of the "
        f"{length} are the same."
    )
    for name in ("cached", "uncached"):
        print(f"{name:9}{figures[f'{name}_tokens_per_second']:8.0f} tokens/s")
    print(f"In {folder}/: stories.txt  stories.png  metrics.json")


# === The model and its tokens ===


def load_model(path):
    """Returns the model of a checkpoint, which gives logits, and its length.

    Args:
        path: a file of llama2.c.
    """
    with open_checkpoint(path) as checkpoint:
        if checkpoint.format != "llama2.c":
            raise ValueError(
                "The example reads checkpoints of llama2.c. "
                f"Received: {path}, of {checkpoint.format}"
            )
        sizes = checkpoint.sizes
    model = build_transformer_model(
        checkpoint_path=path,
        model="llama",
        final_activation="linear",
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["dim"],
        num_hidden_layers=sizes["n_layers"],
        num_attention_heads=sizes["n_heads"],
        num_key_value_heads=sizes["n_kv_heads"],
        intermediate_size=sizes["hidden_dim"],
    )
    return model, sizes["max_seq_len"]


def load_tokenizer(path, model):
    """Returns the SentencePiece tokenizer of the model, or None."""
    if path is None:
        return None
    from su_models.text import SpTokenizer  # needs an extra

    tokenizer = SpTokenizer(path, token_start=None, token_end=None)
    size = model.output.shape[-1]
    if tokenizer.vocab_size != size:
        raise ValueError(
            f"The tokenizer must have the model's {size} tokens. "
            f"Received: {path} with {tokenizer.vocab_size}"
        )
    return tokenizer


def ids_of(prompt, tokenizer):
    """Returns the ids of a prompt: of a text, or written as numbers."""
    if tokenizer is not None:
        return tokenizer.encode(prompt)[0]
    try:
        return [int(word) for word in prompt.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(
            "Without `--tokenizer` the prompt must be ids, for example "
            f'"403 407 261". Received: {prompt!r}'
        ) from error


def check_prompt(prompt, length, model, longest):
    """Rejects ids outside the vocabulary, and more tokens than in training."""
    size = model.output.shape[-1]
    if not 0 <= min(prompt) <= max(prompt) < size:
        raise ValueError(
            f"Ids must be from 0 to {size - 1}. Received: {prompt[1:]}"
        )
    if length < 1:
        raise ValueError(f"`--length` must be positive. Received: {length}")
    if len(prompt) + length > longest:
        raise ValueError(
            "Prompt, start token and story must not exceed the model's "
            f"{longest} tokens. Received: {len(prompt)} and {length}"
        )


# === Without a cache, and how sure the model is ===


class Uncached:
    """Greedy search that computes the whole sequence for each token.

    Args:
        model: the language model.
        size: int. Number of tokens of prompt and story.
    """

    def __init__(self, model, size):
        def most_probable(ids, place):
            logits = ops.take(model(ids, training=False)[0], place, axis=0)
            return ops.argmax(logits)

        self.size = size
        self.run = compiled(most_probable, model.variables)

    def __call__(self, prompt, length, end=True):
        """Returns ids `(length,)`, 0 after `START` if `end`."""
        ids = np.zeros((1, self.size), "int32")
        ids[0, : len(prompt)] = prompt
        for place in range(len(prompt), len(prompt) + length):
            ids[0, place] = int(self.run(ids, np.int32(place - 1)))
            if end and ids[0, place] == START:
                break
        return ids[0, len(prompt) :][:length]


def certainty(model, prompt, story):
    """Returns the probability of each token, and the entropies in bits."""
    story = [i for i in story.tolist() if i]
    ids = np.array([[*prompt, *story]], "int32")
    logits = ops.convert_to_numpy(model(ids))[0, len(prompt) - 1 : -1]
    logits = logits.astype("float64")
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    entropy = -(p * np.log2(np.maximum(p, 1e-30))).sum(axis=-1)
    return p[np.arange(len(story)), story], entropy


def rate(run, tokens, rounds):
    """Returns tokens per second, the median after a warm-up."""
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return round(tokens / statistics.median(seconds), 1)


# === Results ===


def as_text(prompt, stories, tokenizer):
    """Returns the stories as text, or as ids with the prompt before them."""
    lines = []
    for name, story in stories.items():
        ids = [i for i in (*prompt, *story.tolist()) if i not in (0, START)]
        if tokenizer is None:
            told = " ".join(map(str, ids))
        else:
            told = tokenizer.decode(ids)
        lines.append(f"{name}:\n{told}\n")
    return "\n".join(lines)


def as_picture(certain):
    """Returns a PNG of the certainty in each story, as bytes."""
    figure = Figure(figsize=(10, 1.5 * len(certain)), layout="tight")
    rows = figure.subplots(len(certain), 1, sharex=True, squeeze=False)
    for (name, (p, entropy)), axes in zip(
        certain.items(), rows[:, 0], strict=True
    ):
        axes.bar(range(len(p)), p, width=1.0, color="C0", alpha=0.6)
        axes.set(ylabel=f"{name}\nprobability", ylim=(0, 1))
        bits = axes.twinx()
        bits.plot(entropy, color="C3", lw=0.8)
        bits.set(ylabel="entropy, bits", ylim=(0, 9))
    rows[-1, 0].set_xlabel("token of the story")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def arguments(words):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=pathlib.Path, help="a .bin file")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a .model file")
    parser.add_argument("--prompt", default="", help="a text, or ids")
    parser.add_argument("--length", type=int, default=256, help="of a story")
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    given = parser.parse_args(words)
    if given.checkpoint is None:
        given.checkpoint = pathlib.Path(
            os.environ.get(DATA, ""), "ckpt", "stories260K", "stories260K.bin"
        )
    if not given.checkpoint.exists():
        raise FileNotFoundError(
            f"The data set lacks the checkpoint: set {DATA} to a folder with "
            "ckpt/stories260K/stories260K.bin, or pass --checkpoint. "
            f"Received: {given.checkpoint}"
        )
    return given


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
