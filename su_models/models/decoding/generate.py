"""Generation of token ids by any language model of the library."""

from su_models.generation.beam_search import BeamSearch
from su_models.generation.greedy_search import GreedySearch
from su_models.generation.random_sampling import RandomSampling
from su_models.models.decoding.job import Job
from su_models.models.decoding.program import plan_of, program_of
from su_models.models.decoding.prompts import Prompts, uniforms
from su_models.models.decoding.streaming import runner
from su_models.utils.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_positive,
    check_size,
)


def generate(
    model,
    token_ids,
    segment_ids=None,
    *,
    max_new_tokens,
    prompt_lengths=None,
    beam_size=1,
    top_k=None,
    top_p=None,
    temperature=1.0,
    end_id=None,
    seed=None,
    min_new_tokens=0,
    repetition_penalty=1.0,
    length_penalty=1.0,
    finished="keep",
    allowed_tokens=None,
    num_return_sequences=1,
    start_id=0,
    additional_inputs=None,
    batch_size=None,
    return_scores=False,
    stream=None,
    stop_strings=None,
    tokenizer=None,
    progress=False,
):
    """Generates token ids after prompts, with caches, in one program.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    The model is a language model (application "lm" or "unilm", or a family
    that is one) or an encoder-decoder, as `build_transformer_model` returns
    it or `keras.saving.load_model` restores it. Its recorded calls are
    computed for one token at a time, with the same layers.

    The default is greedy search. `beam_size` > 1 selects beam search; `top_k`,
    `top_p` or a `temperature` other than 1 select sampling; `top_p=1.0`
    samples from all tokens. Sampled tokens depend only on the seed, the
    position of the prompt in the batch and the model.

    Args:
        model: a functional `keras.Model`.
        token_ids: integers `(batch, n)`, right-padded prompts, or a list of
            lists; the inputs of the encoder if there is one.
        segment_ids: optional integers of the same shape. Defaults to 0.
            Generated tokens have segment 1 in a "unilm", otherwise that of
            the last token of the prompt.
        max_new_tokens: int > 0. The number of tokens to generate.
        prompt_lengths: optional integers `(batch,)`. By default, zeros at the
            end of a prompt are padding.
        beam_size: int > 0, at most the size of the vocabulary.
        top_k: optional int > 0. Samples from the k most probable tokens.
        top_p: optional float in (0, 1]. Samples from the smallest set of most
            probable tokens whose probabilities add up to p.
        temperature: float > 0. Divides the logits.
        end_id: optional int. The token that ends a sequence.
        seed: optional int from 0 to 2³¹ - 1, or one for each prompt, of which
            the prompt's tokens then depend alone. None draws a seed.
        min_new_tokens: int >= 0. `end_id` is not generated before so many
            tokens.
        repetition_penalty: float > 0. Divides the logits of tokens that have
            occurred (multiplies negative ones).
        length_penalty: float. Beam search divides the score of a sequence by
            `length ** length_penalty`. Only for beam search.
        finished: "keep" or "drop", what beam search does with finished
            sequences: the rule of `transformers`, or that of bert4keras,
            which is also a beam search with one beam; see
            `su_models.generation.BeamSearch`.
        allowed_tokens: optional function `(tokens, step)` of the generated
            tokens `(n, max_new_tokens)`, of which the first `step` columns
            are known, that returns which tokens may follow, booleans `(n,
            vocabulary)`, in `keras.ops`; or a `su_models.generation.Trie`.
        num_return_sequences: int > 0. The number of best beams, or of draws.
        start_id: int. The first token of the decoder of an encoder-decoder.
        additional_inputs: optional list of arrays, `(batch, ...)`: the other
            inputs of the model, such as the condition of its normalizations.
        batch_size: optional int > 0. Prompts that are decoded at once; None:
            all. Prompts of similar lengths come together.
        return_scores: bool. Whether to return the log-probability of each
            sequence as well, of beam search after the length penalty.
        stream: optional function `(step, tokens)` that is called after each
            step with the new tokens, `(batch,)`, or `(batch,
            num_return_sequences)`; 0 after the end. Not for beam search.
        stop_strings: optional list of strings, which end a sequence as soon
            as its text has one of them. Not for beam search.
        tokenizer: an object whose `decode(ids)` returns text, for
            `stop_strings`.
        progress: bool. Whether to show a progress bar over the batches. Or a
            function `(done, total)` of numbers of prompts, which is called
            after each batch.

    Returns:
        int32 array `(batch, max_new_tokens)`, or `(batch,
        num_return_sequences, max_new_tokens)` if that is above 1: the
        generated tokens, including `end_id`, then 0. With `return_scores`, a
        pair of it and floats `(batch,)` or `(batch, num_return_sequences)`.

    Raises:
        ValueError: if an argument is out of its range; a layer of the model
            cannot compute token by token (the message names it); the prompts
            do not fit into its positions; or its scores become NaN, or
            `allowed_tokens` allows nothing (the message names the step).

    Example:

    >>> model = su_models.models.build_transformer_model(
    ...     model="roformer_v2",
    ...     application="lm",
    ...     vocab_size=100,
    ...     hidden_size=32,
    ...     num_hidden_layers=2,
    ...     num_attention_heads=4,
    ...     intermediate_size=64,
    ...     hidden_act="relu",
    ... )
    >>> prompts = [[2, 7, 5], [2, 9]]
    >>> su_models.models.generate(model, prompts, max_new_tokens=4).shape
    (2, 4)
    """
    plan = plan_of(model)
    prompts = Prompts(token_ids, segment_ids, prompt_lengths, plan.vocab_size)
    check_flag("return_scores", return_scores)
    if not callable(progress):
        check_flag("progress", progress)
    check_choice("finished", finished, ("keep", "drop"))
    check_number("length_penalty", length_penalty)
    method = _method(beam_size, top_k, top_p, temperature, finished)
    rows = check_size("num_return_sequences", num_return_sequences)
    options = {
        "max_new_tokens": check_size("max_new_tokens", max_new_tokens),
        "end_id": end_id,
        "min_new_tokens": min_new_tokens,
        "temperature": check_positive("temperature", temperature),
        "repetition_penalty": check_positive(
            "repetition_penalty", repetition_penalty
        ),
        "allowed_tokens": allowed_tokens,
    }
    if method is GreedySearch:
        check_integer("num_return_sequences", rows, most=1)
    elif method is RandomSampling:
        options |= {"num_samples": rows, "top_k": top_k, "top_p": top_p}
    else:
        options |= {
            "beam_size": beam_size,
            "length_penalty": length_penalty,
            "finished": finished,
            "num_return_sequences": rows,
        }
    if length_penalty != 1 and method is not BeamSearch:
        raise ValueError(
            "Only beam search has a `length_penalty`. Received: "
            f"length_penalty={length_penalty}, beam_size={beam_size}"
        )
    job = Job(plan, prompts, start_id, additional_inputs, options)
    search = method(**options)  # checks them
    search.check_vocabulary(plan.vocab_size)
    key = method, tuple(sorted(options.items()))
    program = program_of(model, key, search)
    inputs = {}
    if method is RandomSampling:
        shape = rows, options["max_new_tokens"]
        inputs["uniforms"] = uniforms(seed, len(prompts), shape)
    size = check_size("batch_size", batch_size, optional=True)
    if stream is not None and size is not None and size < len(prompts):
        raise ValueError(
            "The prompts of a `stream` are decoded at once. Received: "
            f"batch_size={size} for {len(prompts)} prompts"
        )
    run = runner(program, method, stream, stop_strings, tokenizer)
    ids, scores = job.run(run, inputs, batch_size, progress)
    if rows == 1:
        ids, scores = ids[:, 0], scores[:, 0]
    return (ids, scores) if return_scores else ids


def _method(beam_size, top_k, top_p, temperature, finished):
    """Returns the class of the search that the arguments select."""
    check_integer("beam_size", beam_size, least=1)
    sampled = top_k is not None or top_p is not None
    # one beam of the rule "drop" is no greedy search: it has its own minimum
    if beam_size > 1 or finished == "drop":
        if sampled:
            raise ValueError(
                "Beam search does not sample. Received: "
                f"beam_size={beam_size}, finished={finished!r}, "
                f"top_k={top_k}, top_p={top_p}"
            )
        return BeamSearch
    return RandomSampling if sampled or temperature != 1 else GreedySearch
