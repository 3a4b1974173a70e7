"""A UniLM that answers questions about dialogues in its own words.

Article: https://kexue.fm/archives/6933
    《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

Data: C3, questions of Chinese language exams. The models are trained on the
questions of its training part whose text is short enough, 5 952 of 11 869,
about dialogues and other texts, and judged on the 1 890 questions of its test
about dialogues. The exams offer three or four choices to these; the models do
not see them, and write the answer.

"from scratch" is a small RoFormerV2 with random weights. "pretrained" begins
with the encoder that `roformer_v2_mlm.py` has trained on Chinese text (not on
C3), if it has been run: one mask makes it a UniLM. The baselines are

* "nearest question": the answer of the training question that is most similar
  by TF-IDF of characters and pairs of them, in question and dialogue; and, of
  the choices, that which has most of its characters' weight in the dialogue;
* "frequencies": the perplexity by the frequencies of single characters.

An answer is right ("exact") if it is the exams' one to the letter; F1 counts
the characters that both have. For the last column each model takes the choice
to which it gives the greatest mean log-probability of a token.

python examples/dialogue_answer.py
python examples/dialogue_answer.py --smoke    (some seconds, separate folders)

Measured on 2026-12-01 by the first command, TensorFlow 2.21 with XLA on two
cores of a shared AMD EPYC, beside another training most of the time: 63
minutes, 31 and 28 of them training. Choices at random would be 26.6 % right.

                    perplexity    exact, %  3 beams, %       F1, %   choice, %
nearest question             -         3.4           -        11.5        43.0
from scratch              51.7         1.6         1.5         9.7        27.9
pretrained                44.2         3.2         4.1        12.9        32.1
frequencies              399.8           -           -           -           -

The networks do not beat the nearest question. From scratch, the choices are
hardly better than random ones: the model says little about the dialogue. The
small encoder doubles the exact answers, to those of the nearest question. The
perplexities are for different tokens: characters of the training texts (3 841),
and those of the encoder, as in the last row. `--encoder` takes the folder of
another RoFormerV2, also of the author's, with its sizes; none was tried here.

It needs the data set at $SU_MODELS_DATA. The same command resumes a killed run.
The seed is 0. `answers.txt` has the first twenty questions of the test with
the answers of all models, `comparison.png` the figures and the training. Then

su-models generate dialogue-answer "男：还下雨吗?|女：停了。|外面怎么了?"

answers further questions; `|` separates the lines, the last is the question.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import numpy as np
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer

from su_models.runs import RunFolder, draw_run, evaluate_run, read_history
from su_models.tasks import find_task
from su_models.tasks.dialogue_answering import character_f1, exact_match
from su_models.tasks.token_losses import frequency_perplexity
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/dialogue-answer")
ENCODER = pathlib.Path("runs/roformer-v2-mlm")
TASK = find_task("dialogue-answer")  # as in `su-models train dialogue-answer`
SHOWN = 20  # number of questions
SMOKE = {
    "steps": 4,
    "steps_per_epoch": 2,
    "batch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 1,
}
COLUMNS = {
    "perplexity": "perplexity",
    "exact_match": "exact, %",
    "exact_match_beams": "3 beams, %",
    "character_f1": "F1, %",
    "choice_accuracy": "choice, %",
}


def main(words=None):
    """Trains the models, evaluates them and the baselines, shows answers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--encoder",
        type=pathlib.Path,
        help=f"folder of a trained RoFormerV2, {ENCODER} if it is there",
    )
    parser.add_argument("--smoke", action="store_true", help="some seconds")
    given = parser.parse_args(words)
    task, folder, number = TASK, FOLDER, None
    if given.smoke:
        task = dataclasses.replace(TASK, **SMOKE)
        folder, number = FOLDER.with_name("smoke-dialogue-answer"), SHOWN

    tasks = {"from scratch": (task, folder)}
    encoder = given.encoder
    if encoder is None and not given.smoke and ENCODER.exists():
        encoder = ENCODER
    if encoder is None:
        print("Only from scratch: there is no trained encoder.")
    else:
        tuned = dataclasses.replace(
            task, encoder=str(encoder), **sizes_of(encoder)
        )
        again = folder.with_name(f"{folder.name}-pretrained")
        tasks["pretrained"] = tuned, again

    test = task.rows("test")[:number]
    figures, answers = {}, {}
    figures["nearest question"], answers["nearest question"] = retrieval(
        task.rows("train"), test
    )
    for name, (task, run) in tasks.items():
        model = task.train(run)
        draw_run(task, model, run)
        figures[name] = evaluate_run(task, model, run, number=number)
        texts = [f"{context}\n{question}" for context, question, *_ in test]
        answers[name] = task.generate(model, texts[:SHOWN])
    train = task.examples()[1]
    tokenizer = task.tokenizer(model)
    targets = task.encoded(tokenizer, [row[:3] for row in test])[1]
    size = tokenizer.vocab_size
    figures["frequencies"] = {
        "perplexity": frequency_perplexity(train, targets, size)
    }
    run = RunFolder(folder)
    run.write("answers.txt", as_text(test, answers).encode())
    run.write_json("comparison.json", figures)
    histories = {name: read_history(run) for name, (_, run) in tasks.items()}
    draw(figures, histories, task, folder / "comparison.png")
    print(as_text(test, answers))
    print(*table(figures), sep="\n")
    print(f"In {folder}/: answers.txt, comparison.png, model.keras ...")


def sizes_of(encoder):
    """Returns the settings of a task that fit the encoder in a folder.

    Raises:
        FileNotFoundError: if there is no `bert_config.json`.
        ValueError: if it lacks a size.
    """
    path = encoder / "bert_config.json"
    config = json.loads(path.read_text("utf-8"))
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    if not {*names} <= {*config}:
        raise ValueError(
            f"The encoder's configuration must have {', '.join(names)}. "
            f"Received: {path} with {', '.join(config)}"
        )
    return {name: config[name] for name in names}


def retrieval(train, test):
    """Returns the metrics of the nearest questions' answers, and the answers.

    Args:
        train, test: lists of tuples as of `DialogueAnswering.rows`.
    """
    counts = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 2), sublinear_tf=True
    )
    known = counts.fit_transform([f"{q}\n{c}" for c, q, *_ in train])
    asked = counts.transform([f"{q}\n{c}" for c, q, *_ in test])
    nearest = (asked @ known.T).toarray().argmax(axis=1)
    answers = [train[i][2] for i in nearest]
    right = [row[2] for row in test]
    hits = []
    for context, _, answer, choices in test:
        dialogue = counts.transform([context])
        scores = (counts.transform(choices) @ dialogue.T).toarray()[:, 0]
        hits.append(choices[int(scores.argmax())] == answer)
    figures = {
        "exact_match": exact_match(answers, right),
        "character_f1": character_f1(answers, right),
        "choice_accuracy": float(np.mean(hits)),
    }
    return figures, answers


def as_text(rows, answers):
    """Returns the first questions with the right and the models' answers."""
    width = max(map(len, answers))
    parts = []
    for i, (context, question, answer, _) in enumerate(rows[:SHOWN]):
        lines = [context, f"问：{question}", f"{'right':{width}}  {answer}"]
        lines += [f"{name:{width}}  {a[i]}" for name, a in answers.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def table(figures):
    """Returns the lines of the table; what has no figure has a dash."""
    lines = [f"{'':18}{''.join(f'{head:>12}' for head in COLUMNS.values())}"]
    for name, found in figures.items():
        cells = []
        for key in COLUMNS:
            value = found.get(key)
            scale = 1 if key == "perplexity" else 100
            cells.append("-" if value is None else f"{scale * value:.1f}")
        lines.append(f"{name:18}{''.join(f'{cell:>12}' for cell in cells)}")
    return lines


def draw(figures, histories, task, path):
    """Plots the training losses, and the shares of right answers.

    Args:
        figures: dict from the rows of the table to metrics.
        histories: dict from models to the columns of their history.
        task: a `DialogueAnswering`.
        path: where the picture is written.
    """
    figure = Figure(figsize=(10, 4), layout="tight")
    left, right = figure.subplots(1, 2)
    for name, columns in histories.items():
        steps = task.steps_per_epoch * (columns["epoch"] + 1)
        left.plot(steps, columns["loss"], label=name)
    left.set(xlabel="step", ylabel=task.loss_label)
    left.legend(fontsize=8)
    names = [name for name in figures if "choice_accuracy" in figures[name]]
    keys = ("exact_match", "character_f1", "choice_accuracy")
    for i, key in enumerate(keys):
        places = np.arange(len(names)) + 0.27 * (i - 1)
        values = [100 * figures[name][key] for name in names]
        bars = right.bar(places, values, 0.25, label=COLUMNS[key])
        right.bar_label(bars, fmt="%.1f", fontsize=7)
    right.set_xticks(range(len(names)), names)
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    with replacing(path) as new:
        figure.savefig(new, dpi=120, format="png")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes the training.")
