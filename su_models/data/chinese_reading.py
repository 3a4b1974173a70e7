"""Chinese passages with questions, in the form of SQuAD."""

import json

from su_models.data.dataset import Dataset, File


def load_squad(paths, names):
    """Returns the questions of files in the form of SQuAD.

    Args:
        paths: dict from the names of files to paths.
        names: dict from splits to the names of their files.

    Returns:
        A dict of splits, each a dict of lists: `context`, a string for each
        question, `question`, a string, and `answers`, lists of strings.

    Raises:
        ValueError: if a file has another form.
    """
    return {split: _questions(paths[name]) for split, name in names.items()}


def _questions(path):
    """Returns the questions of one file, in its order."""
    columns = {"context": [], "question": [], "answers": []}
    try:
        articles = json.loads(path.read_text("utf-8"))["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    answers = [answer["text"] for answer in qa["answers"]]
                    columns["context"].append(paragraph["context"])
                    columns["question"].append(qa["question"])
                    columns["answers"].append(answers)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Not a file in the form of SQuAD ({error!r}). Received: "
            f"path={path}"
        ) from error
    return columns


_CMRC = "https://raw.githubusercontent.com/ymcui/cmrc2018/master"
_CMRC_FILES = {"valid": "cmrc2018_dev.json", "trial": "cmrc2018_trial.json"}

CMRC2018 = Dataset(
    name="cmrc2018",
    folder="mrc/cmrc2018",
    description="Questions about 848 and 256 passages of the Chinese "
    "Wikipedia, whose answers are spans of them. The published file to train "
    "on is not included.",
    source="Y. Cui et al., A Span-Extraction Dataset for Chinese Machine "
    "Reading Comprehension, 2019, https://github.com/ymcui/cmrc2018.",
    licence="CC BY-SA 4.0",
    sizes={"valid": 3_219, "trial": 1_002},
    loader=lambda paths: load_squad(paths, _CMRC_FILES),
    downloads=(
        File(
            "cmrc2018_dev.json",
            "e9ff74231f05c230c6fa88b84441ee334d97234cbb610991cd94b82db00c7f1f",
            f"{_CMRC}/squad-style-data/cmrc2018_dev.json",
        ),
        File(
            "cmrc2018_trial.json",
            "f3fae95b57da8e03afb2b57467dd221417060ef4d82db13bf22fc88589f3a6f3",
            f"{_CMRC}/squad-style-data/cmrc2018_trial.json",
        ),
    ),
)

DRCD = Dataset(
    name="drcd",
    folder="mrc/drcd",
    description="Questions about 1 000 passages of the Chinese Wikipedia in "
    "traditional characters, whose answers are spans of them. The published "
    "file to train on is not included.",
    source="C. C. Shao et al., DRCD: a Chinese Machine Reading Comprehension "
    "Dataset, 2018, https://github.com/DRCKnowledgeTeam/DRCD.",
    licence="CC BY-SA 3.0",
    sizes={"valid": 3_524},
    loader=lambda paths: load_squad(paths, {"valid": "DRCD_dev.json"}),
    downloads=(
        File(
            "DRCD_dev.json",
            "e236df03861ba241bd7b29628cd48b3b8e339c60137e041a4358b5320ed61928",
            "https://raw.githubusercontent.com/DRCKnowledgeTeam/DRCD/master/"
            "DRCD_dev.json",
        ),
    ),
)
