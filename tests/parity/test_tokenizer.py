"""Article: none; the peer is bert4keras 0.11.5, see `legacy.py`.

Tokens, ids, segment ids, places and texts are equal, on real lines, on every
code point and on oddities. Where there is no start token, bert4keras gives a
pair one id more than `maxlen`; it is asked for one less.
"""

import gzip
import json
import os
import pathlib
import random
import unicodedata

import keras
import pytest

from su_models.data import load
from su_models.text import SpTokenizer, Tokenizer, load_vocab, pad_sequences
from tests.parity.legacy import run_legacy
from tests.parity.legacy_tokenizer import digest, packed, pairs, unpacked

pytestmark = [
    pytest.mark.parity,
    pytest.mark.data,
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow",
        reason="no tensors: one backend is enough",
    ),
]
VOCABULARIES = ("bert_chinese_21128", "roformer_v2_char", "bert_uncased_30522")
ODDITIES = [
    "",
    " ",
    "\t\n\r\x0b\x0c\x85\u2028\u2029\u3000\xa0",
    "a\x00b\ufffdc\u200bd\xade\ufefff\u202eg",  # dropped inside a word
    "a\nb ab\r\nab\tab",
    "\x1b[31mred\x1b[0m",
    "e\u0301 é E\u0301 É ﬁ ﬀ ß ẞ ﷽",
    "Ångström Å Ω K ϓ ϔ",
    "\u0301\u0301 a\u0301\u0302 \u0315\u0300a",
    "한국어 가각힣 \u1112\u1161\u11ab",
    "ガギグ ｶﾞ か\u3099 が",
    "नमस्ते हिन्दी ไทย ภาษา ខ្មែរ",
    "א\u05b0ב مُحَمَّد",
    "ΑΣ ΑΣΑ Σ ΣΣ Ας ὈΔΥΣΣΕΎΣ ΟΔΟΣ\u0301 ΟΔΟΣ.",
    "İstanbul IĞDIR ıi̇ DİYARBAKIR",
    "ＡＢＣ　１２３，。！ａｂｃ",
    "😀👍🏽👨‍👩‍👧‍👦🇨🇳 ❤️ ☺︎",
    "𝒜𝓑𝔠 𝟙𝟚𝟛 𝅘𝅥𝅮 𠀀𪛖𫝀𫠝𬺡𰀀 龦鿿㐀䶿豈",
    "a\u1d165\u302eb \U0001d157\U0001d165\U0001d16e",
    "\ud800 \udfff a\ud83db",
    "don't it's we're I'll they've he'd I'm 'tis",
    "3. 14 3.14 1,000 v1.2.3 $5+5=10 <a>{b}[c](d)",
    "[CLS] [SEP][MASK] [unused1] [UNK] [] [",
    "##ing un##known # ##",
    "x" * 199 + " " + "x" * 200 + " " + "x" * 201 + " " + "中" * 300,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "https://kexue.fm/archives/8265?a=1&b=2#二者兼之",
    "——“”‘’…·《》〈〉「」『』【】〔〕〖〗〜～",
    "§¶†‡•‰′″‹›※‼⁇⁈⁉⁊⁋⁎⁑",
    "£¥€¢₩ ±×÷ ≤≥≠ ∑∫√ ←→↑↓ ■□▲△○●◎★☆",
]


def folder():
    return pathlib.Path(os.environ["SU_MODELS_DATA"])


def real_lines():
    """20 000 Chinese lines: reviews, titles, poems; and 2 000 in English."""
    data = folder()
    lines = load("bert4keras_sentiment")["train"]["text"][:10_000]
    news = data / "zh_news" / "thucnews10_dev.txt"
    lines += [
        line.split("\t")[0]
        for line in news.read_text("utf-8").splitlines()[:6_000]
    ]
    with gzip.open(data / "poetry" / "tang.jsonl.gz", "rt", "utf-8") as file:
        poems = [json.loads(next(file))["paragraphs"] for _ in range(4_000)]
    lines += ["".join(poem) for poem in poems]
    assert len(lines) == 20_000
    reviews = data / "en_text" / "mr.txt"
    return lines + reviews.read_text("latin-1").splitlines()[:2_000]


def random_lines(number):
    """Lines of assigned code points, between common ones."""
    draw = random.Random(0)
    rare = [
        chr(i)
        for i in range(0x110000)
        if unicodedata.category(chr(i)) not in ("Cn", "Co")
    ]
    common = "abcdefgABC123 中国人民。,"
    return [
        "".join(
            draw.choice(rare if draw.random() < 0.5 else common)
            for _ in range(draw.randrange(1, 30))
        )
        for _ in range(number)
    ]


def ask(path, requests):
    """What bert4keras answers."""
    answers = run_legacy("legacy_tokenizer.py", path, requests=packed(requests))
    return unpacked(answers["answers"])


def differing(texts, ours, theirs):
    """The texts whose digests differ."""
    rows = zip(texts, ours, theirs, strict=True)
    return [text for text, mine, theirs in rows if digest(mine) != theirs]


def rows_of(ids, counts):
    """A padded batch without its padding."""
    return [row[:n].tolist() for row, n in zip(ids, counts, strict=True)]


@pytest.mark.parametrize("lower", [False, True], ids=["cased", "uncased"])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_no_line_differs(name, lower, tmp_path):
    texts = [*real_lines(), *ODDITIES, *random_lines(3_000)]
    few = [*texts[::8], *ODDITIES]
    path = str(folder() / "vocab" / f"{name}.txt")
    init = {"token_dict": path, "do_lower_case": lower}
    ours = Tokenizer(**init)
    tokens = [ours.tokenize(text) for text in texts]
    encoded = [ours.encode(text) for text in few]
    matched = [
        {"text": text, "tokens": ours.tokenize(text)}
        for text in few
        if "İ" not in text  # bert4keras counts two characters
    ]
    decoded = [{"ids": ours.encode(text)[0]} for text in few]
    pairs_of = [
        {
            "first_text": first,
            "second_text": second,
            "maxlen": [12, 33, 64, 128][i % 4],
            "pattern": ["S*E*E", "S*ES*E"][i % 3 > 0],
            "truncate_from": ["right", "left", -3, [1, -2]][i // 4 % 4],
        }
        for i, (first, second) in enumerate(zip(few, few[1:], strict=False))
    ]

    def request(method, calls, short=True):
        return {
            "name": "Tokenizer",
            "init": init,
            "method": method,
            "calls": calls,
            "short": short,
        }

    theirs = ask(
        tmp_path,
        [
            request("tokenize", [{"text": text} for text in texts]),
            request("encode", [{"first_text": text} for text in few]),
            request("encode", pairs_of),
            request("rematch", matched),
            request("decode", decoded),
        ],
    )
    assert differing(texts, tokens, theirs[0]) == []
    assert differing(few, encoded, theirs[1]) == []
    both = [ours.encode(**call) for call in pairs_of]
    assert differing(pairs_of, both, theirs[2]) == []
    places = [ours.rematch(**call) for call in matched]
    assert differing(matched, places, theirs[3]) == []
    back = [ours.decode(**call) for call in decoded]
    assert differing(few, back, theirs[4]) == []
    rows = [ours.tokens_to_ids(row) for row in tokens]
    ids, segments = ours.encode_batch(texts)
    assert rows_of(ids, map(len, rows)) == rows and not segments.any()
    assert ids.sum() == sum(map(sum, rows))  # padded with 0


@pytest.mark.parametrize("lower", [False, True], ids=["cased", "uncased"])
def test_no_code_point_differs_in_three_contexts(lower, tmp_path):
    path = str(folder() / "vocab" / "bert_chinese_21128.txt")
    init = {"token_dict": path, "do_lower_case": lower}
    texts = [
        " ".join(
            f"{c} a{c}b 中{c}文" for c in map(chr, range(start, start + 256))
        )
        for start in range(0, 0x110000, 256)
    ]
    calls = [{"text": text} for text in texts]
    request = {"name": "Tokenizer", "init": init, "calls": calls}
    request |= {"method": "tokenize", "short": True}
    (theirs,) = ask(tmp_path, [request])
    ours = Tokenizer(**init)
    tokens = [ours.tokenize(text) for text in texts]
    assert differing(texts, tokens, theirs) == []
    ids, _ = ours.encode_batch(texts)
    alone = [ours.tokens_to_ids(row) for row in tokens]
    assert rows_of(ids, map(len, alone)) == alone


@pytest.mark.parametrize(
    "options",
    [
        {"word_maxlen": 3},
        {"token_start": None},
        {"token_end": None, "do_lower_case": True},
        {"token_start": None, "token_end": None},
        {"token_start": "[unused1]", "token_end": "[MASK]"},
        {"token_translate": {"的": "了", "good": "bad", "##s": "龘龘"}},
        {"pre_tokenize": "pairs"},
        {"pre_tokenize": "pairs", "do_lower_case": True},
        {"pre_tokenize": "jieba", "do_lower_case": True},
    ],
    ids=str,
)
def test_options_are_equal(options, tmp_path):
    if options.get("pre_tokenize") == "jieba":
        pytest.importorskip("jieba", reason="peer: jieba")
    path = str(folder() / "vocab" / "bert_chinese_21128.txt")
    init = {"token_dict": path, **options}
    texts = [*real_lines()[::10], *ODDITIES]
    calls = [
        {"first_text": first, "second_text": second, "maxlen": maxlen}
        for first, second in zip(texts, texts[1:], strict=False)
        for maxlen in (None, 20)
    ]
    more = "token_start" in options and options["token_start"] is None
    request = {"name": "Tokenizer", "init": init}
    theirs = ask(
        tmp_path,
        [
            {
                **request,
                "method": "tokenize",
                "calls": [
                    {"text": t, "maxlen": n} for t in texts for n in (None, 9)
                ],
            },
            {
                **request,
                "method": "encode",
                "calls": [
                    {**call, "maxlen": call["maxlen"] and call["maxlen"] - more}
                    for call in calls
                ],
            },
        ],
    )
    if options.get("pre_tokenize") == "pairs":
        init["pre_tokenize"] = pairs
    ours = Tokenizer(**init)
    tokens = [ours.tokenize(t, n) for t in texts for n in (None, 9)]
    assert tokens == theirs[0]
    assert [[*ours.encode(**call)] for call in calls] == theirs[1]
    for maxlen in (None, 20):
        ids, segments = ours.encode_batch(texts[:-1], texts[1:], maxlen)
        rows = [
            answer
            for call, answer in zip(calls, theirs[1], strict=True)
            if call["maxlen"] == maxlen
        ]
        counts = [len(row) for row, _ in rows]
        assert rows_of(ids, counts) == [row for row, _ in rows]
        assert rows_of(segments, counts) == [row for _, row in rows]


def test_vocabularies_are_equal(tmp_path):
    first = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    inits = [
        {"dict_path": str(folder() / "vocab" / f"{name}.txt"), **options}
        for name in VOCABULARIES
        for options in (
            {},
            {"simplified": True, "startswith": first},
            {"simplified": True, "encoding": "utf-8"},
        )
    ]
    requests = [{"name": "load_vocab", "init": init} for init in inits]
    for init, theirs in zip(inits, ask(tmp_path, requests), strict=True):
        ours = load_vocab(**init)
        ours = [*ours] if "simplified" in init else ours
        assert ours == theirs
        assert json.dumps(ours) == json.dumps(theirs)  # in that order


def test_padding_is_equal(tmp_path):
    flat = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    deep = [[[1, 2], [3, 4]], [[5, 6]], [[7, 8], [9, 10], [11, 12]]]
    inits = [
        {"inputs": flat},
        {"inputs": flat, "length": 2},
        {"inputs": flat, "length": 4, "value": -1, "mode": "pre"},
        {"inputs": flat, "length": [4], "mode": "post"},
        {"inputs": flat, "length": 0},
        {"inputs": deep},
        {"inputs": deep, "length": 2, "value": 7, "mode": "pre"},
        {"inputs": [[0.5, 1.5], [2.5]], "value": 9},
    ]
    requests = [{"name": "sequence_padding", "init": init} for init in inits]
    for init, theirs in zip(inits, ask(tmp_path, requests), strict=True):
        assert pad_sequences(**init).tolist() == theirs


@pytest.mark.parametrize("name", ["mt5_sentencepiece_cn", "xlnet_zh_spiece"])
def test_sentencepiece_is_equal(name, tmp_path):
    pytest.importorskip("sentencepiece", reason="peer: sentencepiece")
    start = None if name.startswith("mt5") else "<cls>"
    init = {
        "sp_model_path": str(folder() / "vocab" / f"{name}.model"),
        "token_start": start,
        "token_end": "</s>",
    }
    ours = SpTokenizer(**init)
    texts = [*real_lines()[::40], *ODDITIES[:-12]]
    more = start is None
    calls = [
        {"first_text": first, "second_text": second, "maxlen": 40}
        for first, second in zip(texts, texts[1:], strict=False)
    ]
    encoded = [{"ids": ours.encode(text)[0]} for text in texts]
    methods = {
        "tokenize": [{"text": text} for text in texts],
        "encode": calls,
        "decode": encoded,
        "id_to_token": [{"i": i} for i in (0, 1, 2, 9, 10**6)],
    }
    asked = {
        **methods,
        "encode": [{**call, "maxlen": 40 - more} for call in calls],
    }
    requests = [
        {"name": "SpTokenizer", "init": init, "method": m, "calls": c}
        for m, c in asked.items()
    ]
    theirs = ask(tmp_path, requests)
    for (method, calls), answers in zip(methods.items(), theirs, strict=True):
        mine = [getattr(ours, method)(**call) for call in calls]
        assert json.loads(json.dumps(mine)) == answers, method
    ids, _ = ours.encode_batch(texts)
    rows = [ours.encode(text)[0] for text in texts]
    assert rows_of(ids, map(len, rows)) == rows
