"""Vocabulary files: one token per line, in the order of ids."""

import pathlib

from su_models.text.characters import is_cjk, is_punctuation
from su_models.utils.checks import check_flag, is_integer
from su_models.utils.files import replacing


def load_vocab(dict_path, encoding="utf-8", simplified=False, startswith=None):
    """Returns the vocabulary in a file, a dict from tokens to ids.

    Args:
        dict_path: str or `pathlib.Path`. The part of each line before the
            first space is a token; its id is the number of previous lines.
        encoding: str. Encoding of the file.
        simplified: bool. Whether to drop tokens of several characters that
            contain a Chinese character or punctuation, which `Tokenizer`
            never produces, and to renumber the others.
        startswith: list of str. If `simplified`, the tokens that come first
            and are always kept, for example `["[PAD]", "[UNK]", "[CLS]",
            "[SEP]"]`.

    Returns:
        A dict; if `simplified`, a tuple of the dict and the list of the
        original ids of its tokens, for `keep_tokens` of a model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, is not text in this encoding or
            repeats a token, or does not contain a token of `startswith`.
    """
    check_flag("simplified", simplified)
    path = pathlib.Path(dict_path)
    try:
        lines = path.read_text(encoding).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Not a text in {encoding} ({error}). Received: dict_path={path}"
        ) from error
    lines[0] = lines[0].removeprefix("\ufeff")  # a byte order mark
    token_dict = {}
    for number, line in enumerate(lines, start=1):
        token = (line.split() or [""])[0]
        if token in token_dict:
            raise ValueError(
                "A vocabulary must not repeat a token. "
                f"Received: {token!r} in lines {token_dict[token] + 1} and "
                f"{number} of dict_path={path}"
            )
        token_dict[token] = number - 1
    if list(token_dict) == [""]:
        raise ValueError(f"An empty vocabulary. Received: dict_path={path}")
    if not simplified:
        return token_dict
    first = list(startswith or [])
    missing = [token for token in first if token not in token_dict]
    if missing or len(set(first)) < len(first):
        raise ValueError(
            "`startswith` must be different tokens of the vocabulary. "
            f"Received: startswith={first}"
        )
    others = [t for t in token_dict if t not in first and not _is_redundant(t)]
    kept = first + others
    return {t: i for i, t in enumerate(kept)}, [token_dict[t] for t in kept]


def save_vocab(dict_path, token_dict, encoding="utf-8"):
    """Writes a vocabulary in the format of `load_vocab`.

    Args:
        dict_path: str or `pathlib.Path`. An existing file is replaced only
            after the new file is complete.
        token_dict: dict from tokens to ids, which are 0, 1, 2 ...
        encoding: str. Encoding of the file.

    Raises:
        ValueError: if `load_vocab` would not read the same vocabulary.
    """
    tokens = sorted(check_vocab(token_dict), key=token_dict.get)
    if list(map(token_dict.get, tokens)) != list(range(len(tokens))):
        raise ValueError(
            "`token_dict` must have the ids 0, 1, 2 ... to be a file. "
            f"Received: {len(tokens)} tokens, with ids from "
            f"{min(token_dict.values())} to {max(token_dict.values())}"
        )
    for token in tokens:
        if token.split() not in ([token], []) or token.isspace():
            raise ValueError(
                "`token_dict` must have tokens without spaces to be a file. "
                f"Received: {token!r}"
            )
    with replacing(dict_path) as new:
        new.write_text("".join(f"{t}\n" for t in tokens), encoding)


def check_vocab(token_dict):
    """Returns `token_dict`, or raises.

    Raises:
        ValueError: if it is empty or not a dict from strings to distinct ids.
    """
    if not isinstance(token_dict, dict) or not token_dict:
        raise ValueError(
            "`token_dict` must be a path, or a dict from tokens to ids. "
            f"Received: token_dict={token_dict!r}"
        )
    tokens = {}
    for token, i in token_dict.items():
        if not isinstance(token, str) or not is_integer(i) or i < 0:
            raise ValueError(
                "`token_dict` must map strings to integers >= 0. "
                f"Received: {token!r} with {i!r}"
            )
        if i in tokens:
            raise ValueError(
                "`token_dict` must not assign an id twice. "
                f"Received: {i} for {tokens[i]!r} and {token!r}"
            )
        tokens[i] = token
    return token_dict


def stem(token):
    """Returns a token without the `##` of a piece inside a word."""
    return token.removeprefix("##")


def _is_redundant(token):
    """Tells whether the tokenizer never produces this token."""
    return len(token) > 1 and any(
        is_cjk(c) or is_punctuation(c) for c in stem(token)
    )
