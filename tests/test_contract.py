"""Every public name keeps the contract of its room: tests/contract/."""

import importlib
import importlib.util

import keras
import numpy as np
import pytest
from keras import ops

from tests.contract import CASES, arguments, integers, normal
from tests.contract.layers import (
    check_layer,
    check_padding_is_ignored,
    merging,
    recurrent,
)
from tests.contract.losses import check_loss
from tests.contract.models import check_model
from tests.contract.optimizers import check_optimizer, check_schedule
from tests.contract.regularizers import check_regularizer
from tests.contract.sampling import check_sampler
from tests.contract.training import check_training_wrapper

Schedule = keras.optimizers.schedules.LearningRateSchedule
CLASSES = ("layers", "losses", "optimizers", "regularizers", "training")


def public(room):
    """The names in `__all__` of a room; none if there is no such room yet."""
    spec = importlib.util.find_spec(f"su_models.{room}")
    if spec is None or spec.origin is None:
        return []
    names = importlib.import_module(f"su_models.{room}").__all__
    if room == "models":  # its other names build nothing
        names = [name for name in names if name.startswith("build_")]
    if room == "sampling":  # a schedule is no sampler: it holds numbers
        names = [name for name in names if name != "NoiseSchedule"]
    return names


def each(rooms):
    """One test a case; that a case has its name is a test of its own."""
    found = [(r, n) for r in rooms for n in CASES[r] if n in public(r)]
    return pytest.mark.parametrize(("room", "name"), found)


@pytest.mark.parametrize("room", CASES)
def test_cases_are_exactly_the_public_names(room):
    assert sorted(CASES[room]) == sorted(public(room))


@each(CLASSES)
def test_class_is_registered_under_its_name(room, name):
    cls = getattr(importlib.import_module(f"su_models.{room}"), name)
    assert keras.saving.get_registered_name(cls) == f"su_models>{name}"
    assert keras.saving.get_registered_object(f"su_models>{name}") is cls


@each(CASES)
def test_contract(room, name, tmp_path):
    target = getattr(importlib.import_module(f"su_models.{room}"), name)
    case = CASES[room][name]
    if case.cell:
        target = recurrent(target)
    if case.merges:
        target = merging(target)
    if room == "layers":
        arguments_of = case.init, case.inputs, tmp_path, case.shape, case.loss
        check_layer(target, *arguments_of)
    elif room == "losses":
        check_loss(target, case.init, *case.inputs, tmp_path, case.by_sample)
    elif room == "optimizers" and issubclass(target, Schedule):
        check_schedule(target, case.init, tmp_path)
    elif room == "optimizers":
        check_optimizer(target, case.init, tmp_path)
    elif room == "regularizers":
        check_regularizer(target, case.init, case.inputs, tmp_path)
    elif room == "sampling":
        check_sampler(target, case.init, case.inputs, case.denoiser)
    elif room == "training":
        check_training_wrapper(target, case.init, tmp_path, case.step)
    else:
        check_model(target, case.init, case.inputs, tmp_path, case.targets)


@pytest.mark.parametrize(
    "name", [n for n, case in CASES["layers"].items() if case.sequence]
)
def test_padding_is_ignored(name):
    cls = getattr(importlib.import_module("su_models.layers"), name)
    case = CASES["layers"][name]
    cls = recurrent(cls) if case.cell else cls
    x = case.inputs[:2]
    lengths = np.array([[x.shape[1]], [x.shape[1] // 2]])
    mask = np.arange(x.shape[1]) < lengths
    layer = cls(**arguments(case.init))
    check_padding_is_ignored(layer, x, mask)


# ---- the contract can fail: one defect a class, and the words of its refusal


@keras.saving.register_keras_serializable(package="broken")
class Base(keras.layers.Layer):
    """A right layer, which the broken ones below inherit."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.supports_masking = True

    def build(self, input_shape):
        self.scale = self.add_weight(shape=input_shape[-1:], name="scale")

    def call(self, inputs):
        return inputs * self.scale * self.factor

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


BROKEN = []


def broken(match):
    """Lists a class for the test below, with the words that refuse it."""

    def decorate(cls):
        cls = keras.saving.register_keras_serializable(package="broken")(cls)
        BROKEN.append(pytest.param(cls, match, id=cls.__name__))
        return cls

    return decorate


@broken("factor")
class ForgetsAnArgument(Base):
    def get_config(self):
        return keras.layers.Layer.get_config(self)


@broken("must not change the config")
class ChangesItsConfig(Base):
    def build(self, input_shape):
        super().build(input_shape)
        self.factor = self.factor + 1


@broken("another shape than promised")
class PromisesAnotherShape(Base):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)


@broken("Not equal to tolerance")
class DrawsUnseeded(Base):
    def call(self, inputs):
        noise = np.random.default_rng().normal(size=inputs.shape[-1])
        return super().call(inputs) + ops.cast(noise, inputs.dtype)


@broken("drew the same numbers")
class DrawsTheSameAgain(Base):
    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def call(self, inputs):
        noise = keras.random.normal(inputs.shape[-1:], seed=3)
        return super().call(inputs) + ops.cast(noise, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@broken("not finite in mixed_float16")
class OverflowsInFloat16(Base):
    def call(self, inputs):
        return super().call(inputs * 1e5) * 1e-5


@broken("no gradient reached .*dense|not exist for .*dense")
class StopsTheGradient(Base):
    def call(self, inputs):
        return super().call(ops.stop_gradient(inputs))


@broken("no gradient reached .*scale|not exist for .*scale")
class ForgetsAWeight(Base):
    def call(self, inputs):
        return inputs * self.factor


@pytest.mark.parametrize(("cls", "match"), BROKEN)
def test_broken_layer_is_caught(cls, match, tmp_path):
    # Keras itself warns of some missing gradients, and warnings are errors
    with pytest.raises((AssertionError, UserWarning), match=match):
        check_layer(cls, {"factor": 3.0}, normal(2, 7, 6), tmp_path)


def test_sound_layer_passes(tmp_path):
    check_layer(Base, {"factor": 3.0}, normal(2, 7, 6), tmp_path)


class SeesPadding(Base):
    def call(self, inputs):
        mean = ops.mean(inputs, axis=1, keepdims=True)
        return super().call(inputs) + mean


def test_layer_that_sees_padding_is_caught():
    mask = np.arange(7) < np.array([[7], [3]])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_padding_is_ignored(SeesPadding(), normal(2, 7, 6), mask)


@keras.saving.register_keras_serializable(package="broken")
class IgnoresReduction(keras.losses.MeanSquaredError):
    def call(self, y_true, y_pred):
        return ops.mean(super().call(y_true, y_pred))


def test_broken_loss_is_caught(tmp_path):
    y = normal(5, 3)
    with pytest.raises(AssertionError, match="not one number a sample"):
        check_loss(IgnoresReduction, {}, y + 1, y, tmp_path)


@keras.saving.register_keras_serializable(package="broken")
class ForgetsItsState(keras.optimizers.Adam):
    def load_own_variables(self, store):
        """Loads nothing, so that training starts anew."""


def test_broken_optimizer_is_caught(tmp_path):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_optimizer(ForgetsItsState, {"learning_rate": 0.01}, tmp_path)


@pytest.mark.parametrize(
    ("check", "cls", "given"),
    [
        (
            check_loss,
            keras.losses.SparseCategoricalCrossentropy,
            ({"from_logits": True}, integers(3, 5), normal(5, 3)),
        ),
        (
            check_regularizer,
            keras.regularizers.L2,
            ({"l2": 0.1}, normal(5, 3)),
        ),
    ],
)
def test_sound_class_of_keras_passes(check, cls, given, tmp_path):
    check(cls, *given, tmp_path)
