"""Generation as a function of tensors, for the export."""

import keras
from keras import ops

from su_models.generation.beam_search import BeamSearch
from su_models.models.decoding.program import Program, plan_of
from su_models.models.decoding.prompts import SHORTEST
from su_models.utils.checks import check_integer


def generate_endpoint(
    model,
    *,
    max_new_tokens,
    max_beam_size=1,
    end_id=None,
    min_new_tokens=0,
    temperature=1.0,
    length_penalty=1.0,
    finished="keep",
    allowed_tokens=None,
    start_id=0,
):
    """Returns a function of prompts and sizes for `export_saved_model`.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    The artifact's function takes `token_ids`, int32 `(batch, n)`, in which
    zeros at the end of a row are padding; `segment_ids` of the same shape, if
    the model has segments; and the int32 scalars `beam_size` and
    `max_new_tokens`, which the maxima given here bound. It returns int32
    `(batch, max_new_tokens)`, with the maximum given here, and equals
    `generate` with the same arguments. A row of -1 says that `generate` would
    raise an error: the scores became NaN, an id is not in the vocabulary, or
    the prompt and the tokens do not fit in the positions of the model.
    Prompts are padded to a power of two, so that few programs serve all
    lengths.

    Args:
        model: a functional `keras.Model`, as of `generate`.
        max_new_tokens: int > 0. The greatest number of tokens to generate.
        max_beam_size: int > 0. The greatest number of beams.
        end_id, min_new_tokens, temperature, length_penalty, finished,
            allowed_tokens, start_id: see `generate`.

    Returns:
        A function with an attribute `input_signature`.

    Raises:
        ValueError: as `generate`.

    Example:

        endpoint = generate_endpoint(model, max_new_tokens=64, max_beam_size=3)
        export_saved_model(model, "saved_model", {"generate": endpoint})
    """
    plan = plan_of(model)
    check_integer("max_beam_size", max_beam_size, 1, plan.vocab_size)
    check_integer("end_id", end_id, 0, plan.vocab_size - 1, optional=True)
    check_integer("start_id", start_id, 0, plan.vocab_size - 1)
    others = [x for x in plan.source if x is not plan.encoder_input]
    if others:
        raise ValueError(
            "Inputs besides token, segment and position ids cannot be "
            f"exported. Received: {[x.name for x in others]}"
        )
    search = BeamSearch(
        max_new_tokens,
        max_beam_size,
        finished,
        length_penalty,
        end_id=end_id,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        allowed_tokens=allowed_tokens,
    )
    search.check_vocabulary(plan.vocab_size)
    run = Program(plan, search).run
    names = ["token_ids"] + ["segment_ids"] * (plan.segments is not None)

    def generate(*arguments):
        *ids, beams, limit = arguments
        lengths = _lengths(ids[0])
        real = lengths > 0
        if plan.max_length is not None:
            prompt = lengths if plan.encoder_input is None else 1
            real = real & (prompt + limit - 1 <= plan.max_length)
        most = plan.max_length if plan.encoder_input is None else None
        if most is not None:
            lengths = ops.minimum(lengths, most)
        ids = [_padded(x, most) for x in ids]
        inputs = {"tokens": ids[0], "lengths": ops.maximum(lengths, 1)}
        if plan.encoder_input is not None:
            inputs["source"] = [ids[0]]
            first = ops.full_like(ids[0][:, :1], start_id)
            inputs |= {"tokens": first, "lengths": ops.ones_like(lengths)}
        elif len(ids) > 1:
            inputs["segments"] = ids[1]
        inputs["width"] = ops.clip(beams, 1, max_beam_size)
        known = (beams >= 1) & (beams <= max_beam_size)
        known = known & (limit >= 1) & (limit <= max_new_tokens)
        made, _, status = run(inputs, ops.clip(limit, 1, max_new_tokens))
        right = (status < 0) & real & known
        return ops.where(right[:, None], made[:, 0], -1)

    generate.input_signature = [
        keras.InputSpec(shape=(None, None), dtype="int32", name=name)
        for name in names
    ] + [
        keras.InputSpec(shape=(), dtype="int32", name=name)
        for name in ("beam_size", "max_new_tokens")
    ]
    return generate


def _lengths(tokens):
    """Returns the lengths without the zeros at the end, `(batch,)`."""
    ends = ops.arange(1, ops.shape(tokens)[1] + 1, dtype="int32")
    return ops.max(ops.where(tokens != 0, ends, 0), axis=1)


def _padded(ids, most):
    """Returns ids padded to a power of two, at most `most` of them."""
    ids = ids if most is None else ids[:, :most]
    batch, n = ops.shape(ids)
    exact = ops.cast(n, "float32")
    power = ops.ceil(ops.log2(ops.maximum(exact, float(SHORTEST))))
    size = ops.cast(ops.round(ops.power(2.0, power)), "int32")
    if most is not None:
        size = ops.minimum(size, most)
    return ops.concatenate([ids, ops.zeros((batch, size - n), "int32")], axis=1)
