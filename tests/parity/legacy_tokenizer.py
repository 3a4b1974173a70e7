"""bert4keras' tokenizers and padding on given calls; `legacy.py` runs it.

A call is a dict: a function or class of bert4keras (`name`), its arguments
(`init`), of an object the method to call (`method`) and the lists of its
arguments (`calls`). The answer has a list of results for each, None where
bert4keras raised. With `digest`, results are digests of their JSON.
"""

import hashlib
import json
import sys

import numpy as np


def pairs(text):
    """A `pre_tokenize`: two characters, and so on."""
    return [text[i : i + 2] for i in range(0, len(text), 2)]


def packed(value):
    """JSON as an array of bytes, which `np.savez` keeps."""
    return np.frombuffer(json.dumps(value).encode(), "uint8")


def unpacked(array):
    return json.loads(array.tobytes())


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def main(source, target):
    """Reads `source`, and writes the answers to its calls."""
    try:
        from bert4keras import snippets, tokenizers
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        requests = unpacked(arrays["requests"])
    answers = [answer(snippets, tokenizers, **r) for r in requests]
    np.savez(target, answers=packed(answers))


def answer(snippets, tokenizers, name, init, method="", calls=(), short=False):
    """Returns the results of the calls of one request."""
    if init.get("pre_tokenize") == "pairs":
        init["pre_tokenize"] = pairs
    if init.get("pre_tokenize") == "jieba":
        import jieba

        init["pre_tokenize"] = lambda text: jieba.lcut(text, HMM=False)
    if name == "sequence_padding":
        return attempt(lambda: snippets.sequence_padding(**init).tolist())
    made = getattr(tokenizers, name)(**init)
    if not method:
        return made
    results = [
        attempt(lambda c=call: getattr(made, method)(**c)) for call in calls
    ]
    return [digest(result) for result in results] if short else results


def attempt(function):
    try:
        return function()
    except (IndexError, ValueError, KeyError):
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
