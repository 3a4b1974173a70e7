"""DDPM: networks that predict the noise in an image, and their trainer."""

import keras
from keras import layers

from su_models.layers.diffusion.add_timestep import AddTimestep
from su_models.layers.diffusion.forward_diffusion import ForwardDiffusion
from su_models.layers.diffusion.noise_prediction_loss import (
    NoisePredictionLoss,
)
from su_models.layers.diffusion.timestep_embedding import (
    TimestepEmbedding,
)
from su_models.ops.noise_schedule import check_schedule
from su_models.utils.checks import (
    check_choice,
    check_integers,
    check_share,
    check_size,
)

# independent of the user's Keras settings: images are (height, width,
# channels)
_FORMAT = "channels_last"
_DEFAULTS = {
    "blocks": 2,
    "variant": "ho",
    "num_steps": 1000,
    "patch_size": 1,
    "groups": 32,
    "dropout": 0.0,
}
_AUTHOR = {
    "image_shape": (128, 128, 3),
    "widths": (128, 128, 256, 256, 512, 512),
}
_PRESETS = {
    "ddpm": {**_AUTHOR, "variant": "su"},
    "ddpm2": {**_AUTHOR, "variant": "ho"},
    "digits": {
        "image_shape": (8, 8, 1),
        "widths": (256,),
        "blocks": 4,
        "variant": "dense",
    },
    "mnist": {
        "image_shape": (28, 28, 1),
        "widths": (32, 64),
        "patch_size": 2,
        "groups": 8,
    },
}


def build_ddpm(
    preset=None,
    *,
    image_shape=None,
    widths=None,
    blocks=None,
    variant=None,
    num_steps=None,
    patch_size=None,
    groups=None,
    dropout=None,
    name="ddpm",
):
    """Builds the network ε_θ(x_t, t) of a diffusion over images.

    Article: https://kexue.fm/archives/9152
        《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》
    Paper: https://arxiv.org/abs/2006.11239

    Variants:

    * `"ho"`, the author's second network (`ddpm2.py`), a U-Net close to the
      paper's: blocks normalize first and start as the identity, skips are
      concatenated, and the step enters through frozen sinusoids and two
      layers. Use it for sampling with few steps and without noise.
    * `"su"`, the author's first network (`ddpm.py`), which is lighter: blocks
      normalize last, skips are added, and the step is a learned vector added
      before each block.
    * `"dense"`: no convolutions, but residual blocks of two dense layers on
      the flattened image. Use it for images so small (8x8) that the meaning
      of a pixel depends on its position.

    Differs: groups of a normalization are contiguous channels, as in Keras;
    in the author's code they are interleaved. `patch_size` and `"dense"` are
    additions of this library.

    Args:
        preset: optional name, `"ddpm"` or `"ddpm2"` (the author's scripts,
            128x128x3), `"digits"` or `"mnist"`. It sets the arguments below
            that are None.
        image_shape: `(height, width, channels)`, sides of at least 8.
        widths: channels at each resolution, which halves from one to the
            next; for `"dense"` a list of one number.
        blocks: int >= 1. Residual blocks at each resolution. Defaults to 2.
        variant: `"ho"` (the default), `"su"` or `"dense"`.
        num_steps: int >= 1. T. Defaults to 1000.
        patch_size: int >= 1. Side of the squares whose pixels become the
            channels of one position before the first convolution. Defaults
            to 1.
        groups: int >= 1. Groups of the normalizations; divides each of
            `widths`. Defaults to 32. Not used by `"dense"`.
        dropout: float in [0, 1). Dropout rate before the second layer of each
            block. Defaults to 0. Not used by `"su"`.
        name: name of the model.

    Returns:
        A `keras.Model` with the inputs `[x, t]`, x floats `(batch, height,
        width, channels)` and t int32 `(batch,)` in 1, ..., T, and with the
        predicted noise as output, float32, of the shape of x.

    Raises:
        ValueError: if the preset or variant is unknown, or sizes are missing
            or do not fit each other.

    Example:

    >>> net = su_models.models.build_ddpm("digits")
    >>> net.output_shape
    (None, 8, 8, 1)
    """
    check_choice("preset", preset, (None, *_PRESETS))
    given = {
        "image_shape": image_shape,
        "widths": widths,
        "blocks": blocks,
        "variant": variant,
        "num_steps": num_steps,
        "patch_size": patch_size,
        "groups": groups,
        "dropout": dropout,
    }
    given = {key: value for key, value in given.items() if value is not None}
    config = _checked({**_DEFAULTS, **_PRESETS.get(preset, {}), **given})
    return _VARIANTS[config.pop("variant")](**config).build(name)


def build_ddpm_trainer(denoiser, schedule, seed=None, name="ddpm_trainer"):
    """Builds the model that trains a network to predict the noise.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》

    The trainer shares the layers of `denoiser`: train the trainer, and sample
    with `denoiser`. The loss is part of the graph, so compile without a loss.
    For averaged weights, set `use_ema=True` of the optimizer (of the inner
    one inside `Lookahead`); at its end `fit` assigns the averages to the
    model.

    Args:
        denoiser: a model with the inputs `[x, t]`, as `build_ddpm` returns.
        schedule: a `su_models.sampling.NoiseSchedule` with as many steps.
        seed: optional int. Seed of the random steps and noise.
        name: name of the model.

    Returns:
        A `keras.Model` from images x_0 `(batch, ...)`, usually scaled to
        -1 ... 1, to the loss of each image, `(batch,)`.

    Raises:
        ValueError: if the denoiser has a table with another number of steps
            than the schedule, or its prediction does not have the shape of
            its input.

    Example:

    >>> net = su_models.models.build_ddpm("digits")
    >>> schedule = su_models.sampling.NoiseSchedule.author(1000)
    >>> trainer = su_models.models.build_ddpm_trainer(net, schedule, seed=0)
    >>> trainer.compile("adam", jit_compile=True)
    """
    if not isinstance(denoiser, keras.Model):
        raise ValueError(
            "`denoiser` must be a keras.Model with the inputs [x, t]. "
            f"Received: denoiser={denoiser!r}"
        )
    TimestepEmbedding.check(denoiser, check_schedule(schedule).num_steps)

    # === Layers ===
    diffuse = ForwardDiffusion(schedule, seed=seed, name="diffuse")
    loss = NoisePredictionLoss(name="loss")

    # === Functional model ===
    image = keras.Input(denoiser.inputs[0].shape[1:], name="image")
    x, t, noise = diffuse(image)
    return keras.Model(image, loss(noise, denoiser([x, t])), name=name)


class _Denoiser:
    """Base of the variants: patches, the step, and the order of building."""

    def __init__(
        self,
        image_shape,
        widths,
        blocks,
        num_steps,
        patch_size,
        groups,
        dropout,
    ):
        self.image_shape = image_shape
        self.widths = widths
        self.blocks = blocks
        self.num_steps = num_steps
        self.patch_size = patch_size
        self.groups = groups
        self.dropout = dropout

    def build(self, name):
        x = image = keras.Input(self.image_shape, name="image")
        t = step = keras.Input((), dtype="int32", name="step")
        x, t = self.cut(x), self.embed(t)
        x = self.join(self.network(x, t))
        # float32 under every policy, since it is compared with float32 noise
        x = layers.Activation("linear", dtype="float32", name="noise")(x)
        return keras.Model([image, step], x, name=name)

    def network(self, x, t):
        """Maps positions `(b, h, w, c)` and the step to the noise."""
        raise NotImplementedError

    def cut(self, x):
        """Moves the pixels of each patch into the channels."""
        p, (h, w, c) = self.patch_size, self.image_shape
        if p == 1:
            return x
        x = layers.Reshape((h // p, p, w // p, p, c), name="cut_rows")(x)
        x = layers.Permute((1, 3, 2, 4, 5), name="cut_columns")(x)
        return layers.Reshape((h // p, w // p, p * p * c), name="patches")(x)

    def join(self, x):
        """Undoes `cut`."""
        p, (h, w, c) = self.patch_size, self.image_shape
        if p == 1:
            return x
        x = layers.Reshape((h // p, w // p, p, p, c), name="join_rows")(x)
        x = layers.Permute((1, 3, 2, 4, 5), name="join_columns")(x)
        return layers.Reshape(self.image_shape, name="pixels")(x)

    def embed(self, t):
        width = self.widths[0]
        t = TimestepEmbedding(
            self.num_steps, width, sinusoidal=True, name="step_table"
        )(t)
        t = self.dense(t, 4 * width, "step_dense_1", "swish")
        return self.dense(t, 4 * width, "step_dense_2", "swish")

    def add_step(self, x, t, name):
        """Adds a linear function of the step to every position."""
        t = self.dense(t, x.shape[-1], f"{name}_step")
        return AddTimestep(name=f"{name}_step_add")(x, t)

    def drop(self, x, name):
        if not self.dropout:
            return x
        return layers.Dropout(self.dropout, name=f"{name}_dropout")(x)

    def dense(self, x, width, name, activation=None, scale=1.0):
        return layers.Dense(
            width,
            activation,
            use_bias=False,
            kernel_initializer=_initializer(scale),
            name=name,
        )(x)


class _HoUNet(_Denoiser):
    """Pre-normalized blocks and concatenated skips."""

    def network(self, x, t):
        x = self.conv(x, self.widths[0], "stem")
        x, skips = self.down(x, t)
        x = self.residual_block(x, t, self.widths[-1], "middle")
        x = self.head(self.up(x, skips, t))
        channels = self.patch_size**2 * self.image_shape[-1]
        return self.conv(x, channels, "head_conv")

    def head(self, x):
        return self.activate(x, "head")

    def down(self, x, t):
        """Returns the coarsest positions and the list of skips."""
        skips = [x]
        for level, width in enumerate(self.widths):
            if level:
                x = layers.AveragePooling2D(
                    2, data_format=_FORMAT, name=f"down_{level}_pool"
                )(x)
                skips.append(x)
            for i in range(self.blocks):
                x = self.residual_block(x, t, width, f"down_{level}_{i}")
                skips.append(x)
        return x, skips

    def up(self, x, skips, t):
        for level in reversed(range(len(self.widths))):
            for i in range(self.blocks + 1):
                name = f"up_{level}_{i}"
                x = layers.Concatenate(name=f"{name}_skip")([x, skips.pop()])
                x = self.residual_block(x, t, self.widths[level], name)
            if level:
                x = self.enlarge(x, f"up_{level}_upsample")
        return x

    def enlarge(self, x, name):
        return layers.UpSampling2D(2, data_format=_FORMAT, name=name)(x)

    def residual_block(self, x, t, width, name):
        shortcut = self.shortcut(x, width, name)
        x = self.activate(x, f"{name}_1")
        x = self.conv(x, width, f"{name}_conv_1")
        x = self.activate(self.add_step(x, t, name), f"{name}_2")
        x = self.drop(x, name)
        x = self.conv(x, width, f"{name}_conv_2", scale=0.0)
        return layers.Add(name=f"{name}_add")([x, shortcut])

    def shortcut(self, x, width, name):
        if x.shape[-1] == width:
            return x
        return self.dense(x, width, f"{name}_shortcut")

    def activate(self, x, name):
        x = self.normalize(x, f"{name}_norm")
        return layers.Activation("swish", name=f"{name}_swish")(x)

    def normalize(self, x, name):
        return layers.GroupNormalization(self.groups, epsilon=1e-6, name=name)(
            x
        )

    def conv(self, x, width, name, activation=None, scale=1.0):
        return layers.Conv2D(
            width,
            3,
            padding="same",
            data_format=_FORMAT,
            activation=activation,
            use_bias=False,
            kernel_initializer=_initializer(scale),
            name=name,
        )(x)


class _SuUNet(_HoUNet):
    """Post-normalized blocks, added skips, and a learned table of steps."""

    def embed(self, t):
        return TimestepEmbedding(
            self.num_steps, self.widths[0], name="step_table"
        )(t)

    def head(self, x):
        return self.normalize(x, "head_norm")

    def up(self, x, skips, t):
        skips.pop()  # the input of the middle block
        for level in reversed(range(len(self.widths))):
            if level < len(self.widths) - 1:
                x = self.enlarge(x, f"up_{level}_upsample")
                x = layers.Add(name=f"up_{level}_skip")([x, skips.pop()])
            for i in range(self.blocks):
                name, skip = f"up_{level}_{i}", skips.pop()
                x = self.residual_block(x, t, skip.shape[-1], name)
                x = layers.Add(name=f"{name}_skip")([x, skip])
        return x

    def residual_block(self, x, t, width, name):
        shortcut = self.shortcut(x, width, name)
        scale = (2 * len(self.widths) + 1) ** -0.5
        x = self.add_step(x, t, name)
        x = self.conv(x, width, f"{name}_conv_1", "swish", scale)
        x = self.conv(x, width, f"{name}_conv_2", "swish", scale)
        x = layers.Add(name=f"{name}_add")([x, shortcut])
        return self.normalize(x, f"{name}_norm")


class _Dense(_Denoiser):
    """Residual blocks on the flattened image."""

    def embed(self, t):
        (width,) = self.widths
        t = TimestepEmbedding(
            self.num_steps, width, sinusoidal=True, name="step_table"
        )(t)
        return self.dense(t, width, "step_dense", "swish")

    def network(self, x, t):
        (width,), shape = self.widths, x.shape[1:]
        x = layers.Flatten(data_format=_FORMAT, name="flatten")(x)
        size = x.shape[-1]
        x = self.dense(x, width, "stem")
        for i in range(self.blocks):
            x = self.residual_block(x, t, f"block_{i}")
        x = self.activate(x, "head")
        x = self.dense(x, size, "head_dense", scale=0.0)
        return layers.Reshape(shape, name="unflatten")(x)

    def residual_block(self, x, t, name):
        width, shortcut = x.shape[-1], x
        x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
        x = self.add_step(self.dense(x, width, f"{name}_dense_1"), t, name)
        x = layers.Activation("swish", name=f"{name}_swish")(x)
        x = self.drop(x, name)
        x = self.dense(x, width, f"{name}_dense_2", scale=0.0)
        return layers.Add(name=f"{name}_add")([x, shortcut])

    def activate(self, x, name):
        x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
        return layers.Activation("swish", name=f"{name}_swish")(x)


_VARIANTS = {"ho": _HoUNet, "su": _SuUNet, "dense": _Dense}


def _initializer(scale):
    if not scale:
        return "zeros"
    return keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")


def _checked(config):
    """Returns the arguments as Python numbers, or raises."""
    config = {"image_shape": None, "widths": None, **config}
    check_choice("variant", config["variant"], tuple(_VARIANTS))
    for name in ("blocks", "num_steps", "patch_size", "groups"):
        config[name] = check_size(name, config[name])
    config["dropout"] = check_share("dropout", config["dropout"])
    shape = check_integers("image_shape", config["image_shape"], count=3)
    widths = check_integers("widths", config["widths"])

    def refuse(problem, *names):
        received = ", ".join(f"{name}={config[name]}" for name in names)
        raise ValueError(f"{problem} Received: {received}")

    if min(shape[:2]) < 8:
        refuse(
            "`image_shape` must be (height, width, channels) with sides of "
            "at least 8.",
            "image_shape",
        )
    factor = config["patch_size"]
    if config["variant"] == "dense":
        if len(widths) != 1:
            refuse('`widths` must be one number for "dense".', "widths")
    else:
        factor *= 2 ** (len(widths) - 1)
        if any(width % config["groups"] for width in widths):
            refuse("`groups` must divide each width.", "groups", "widths")
    if widths[0] % 2:
        refuse("The first of `widths` must be even.", "widths")
    if any(side % factor for side in shape[:2]):
        refuse(
            "The sides of the image must be divisible by `patch_size` and by "
            f"2 for each further resolution, that is by {factor}.",
            "image_shape",
            "patch_size",
            "widths",
        )
    return {**config, "image_shape": tuple(shape), "widths": tuple(widths)}
