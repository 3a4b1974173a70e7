"""A UniLM that writes quatrains (绝句) of the Tang dynasty for titles.

Article: https://kexue.fm/archives/6933
    《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

Data: the Tang poems of chinese-poetry in simplified characters. 5 % of the
quatrains are held out; the model is trained on the others, and on both halves
of the poems of eight lines (律诗), which have the same form.

The model is a small RoFormerV2 of characters. It reads the title in both
directions and writes the poem from left to right; one mask makes it an encoder
and a decoder. Sampling with `top_p` 0.9 is constrained by `allowed_tokens`:
four lines of five or of seven characters, a comma or a full stop behind each,
and a rhyme of the second and the fourth line, by the finals of their pinyin.
The shares of poems that keep the form are given with and without this
constraint, and for the held-out poems, many of which rhyme only in the
pronunciation of their time. The perplexity on the held-out poems is compared
with that of the frequencies of single characters.

pip install "su_models[poems]"
python examples/poem_unilm.py
python examples/poem_unilm.py --smoke    (some seconds, in a separate folder)

Measured on 2026-12-01 by the first command, TensorFlow 2.21 with XLA on two
cores of a shared AMD EPYC, beside another training throughout: 55 minutes. The
perplexity of the held-out poems is 115.5 (that of the frequencies is 624.4), of
their characters without marks and ends 289.2. Shares of 200 poems and of all
held-out ones, and of their lines, in %:

                           form   form and rhyme   lines from the training poems
    constrained           100.0            100.0                             0.0
    not constrained        95.0              8.5                             0.0
    held-out poems        100.0             81.3                             5.4

The model has learned lengths and marks, but it hardly rhymes by itself, and to
a reader few of the twenty poems make sense as a whole. The first of them:

    《柳十首 十》
    一日碧云居，何处竹华旋。
    岂慙流碛险，还自饥疎涧。

It needs the data set at $SU_MODELS_DATA. The same command resumes a killed run.
The seed is 0. `poems.txt` has one poem for each of the first twenty held-out
titles, none of them selected; `poems.png` shows them if matplotlib finds a font
with Chinese characters. Then

su-models generate poem-unilm 春晓

writes further ones, and `saved_model/` does so with TensorFlow alone:

    poet = tf.saved_model.load("runs/poem-unilm/saved_model")
    title = tf.strings.unicode_decode(["春晓"], "UTF-8").to_tensor()
    ids = poet.encode(title)
    made = poet.decode(poet.generate(ids, 0 * ids, 3, 33))  # 3 beams
    poem = tf.strings.unicode_encode(made[made > 0], "UTF-8").numpy().decode()
"""

import argparse
import dataclasses
import io
import pathlib
import sys

import keras
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from su_models.export import export_saved_model
from su_models.runs import RunFolder, draw_run, evaluate_run
from su_models.tasks import find_task
from su_models.tasks.token_losses import frequency_perplexity

FOLDER = pathlib.Path("runs/poem-unilm")
TASK = find_task("poem-unilm")  # as in `su-models train poem-unilm`
SHOWN = 20  # number of poems
SMOKE = {
    "steps": 4,
    "steps_per_epoch": 2,
    "batch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 1,
}


def main(words=None):
    """Trains, writes, evaluates and exports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    task, folder, number = TASK, FOLDER, 200
    if parser.parse_args(words).smoke:
        task = dataclasses.replace(TASK, **SMOKE)
        folder, number = FOLDER.with_name("smoke-poem-unilm"), SHOWN

    poet = task.train(folder)
    draw_run(task, poet, folder)
    run = RunFolder(folder)
    titles = [title for title, _ in task.pairs("test")[:SHOWN]]
    poems = task.generate(poet, titles)
    run.write("poems.txt", as_text(titles, poems).encode())
    font = chinese_font()
    if font is None:
        print("No font has Chinese characters: poems.png is not drawn.")
    else:
        run.write("poems.png", as_picture(titles, poems, font))
    print(as_text(titles, poems))
    figures = evaluate_run(task, poet, folder, number=number)
    tokenizer = task.tokenizer(poet)
    figures["perplexity_of_frequencies"] = frequency_perplexity(
        *(task.encoded(tokenizer, task.pairs(s))[1] for s in ("train", "test")),
        tokenizer.vocab_size,
    )
    for name, value in figures.items():
        print(f"{name:32}{value:10.3f}")
    if keras.backend.backend() == "tensorflow":
        export_saved_model(poet, folder / "saved_model", task.endpoints(poet))
    print(f"In {folder}/: poems.txt, training.png, model.keras ...")


def as_text(titles, poems):
    """Returns titles and poems, with a line for each couplet."""
    return "\n".join(
        f"《{title}》\n{couplets(poem)}\n"
        for title, poem in zip(titles, poems, strict=True)
    )


def couplets(poem):
    """Returns a poem with a line feed behind each full stop but the last."""
    return poem.replace("。", "。\n").strip()


def chinese_font():
    """Returns the path of a font with simplified characters, or None."""
    for font in font_manager.fontManager.ttflist:
        if "LastResort" in font.fname:  # which draws boxes
            continue
        try:
            known = FT2Font(font.fname).get_charmap()
        except (OSError, RuntimeError):
            continue
        if {ord("诗"), ord("。")} <= known.keys():
            return font.fname
    return None


def as_picture(titles, poems, font, columns=4):
    """Returns poems side by side, as the bytes of a PNG file.

    A question mark stands for a rare character that the font does not have.

    Args:
        titles, poems: lists of str.
        font: path of a font.
        columns: int. Number of poems in a row.
    """
    rows = -(-len(poems) // columns)
    figure = Figure(figsize=(3 * columns, 1.1 * rows))
    regular = font_manager.FontProperties(fname=font)
    known = {*map(chr, FT2Font(font).get_charmap()), "\n"}
    for i, (title, poem) in enumerate(zip(titles, poems, strict=True)):
        row, column = divmod(i, columns)
        text = f"{title[: TASK.title_length]}\n{couplets(poem)}"
        figure.text(
            (column + 0.5) / columns,
            1 - (row + 0.5) / rows,
            "".join(c if c in known else "?" for c in text),
            ha="center",
            va="center",
            fontproperties=regular,
        )
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes the training.")
