"""The models of 苏剑林's blog 科学空间 (kexue.fm) in Keras 3.

`import su_models` registers every class with Keras, so that
`keras.saving.load_model` finds them. It has no other effect.
"""

# one line a room: each import registers the room's classes
from su_models import backend as backend
from su_models import checkpoints as checkpoints
from su_models import compat as compat
from su_models import data as data
from su_models import export as export
from su_models import generation as generation
from su_models import layers as layers
from su_models import losses as losses
from su_models import models as models
from su_models import ops as ops
from su_models import optimizers as optimizers
from su_models import regularizers as regularizers
from su_models import runs as runs
from su_models import sampling as sampling
from su_models import tasks as tasks
from su_models import text as text
from su_models import training as training
from su_models import utils as utils

__version__ = "0.2.0.dev0"
