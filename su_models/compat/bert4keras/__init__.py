"""bert4keras' modules and names, as adapters over su_models.

A script of bert4keras 0.11.5 imports from here instead:

    from su_models.compat.bert4keras.models import build_transformer_model

`docs/from_bert4keras.md` lists every name, and what differs. The modules
`backend`, `layers`, `models`, `optimizers`, `snippets` and `tokenizers` are
those of bert4keras; the others hold parts of them.
"""

from su_models.compat.bert4keras import backend as backend
from su_models.compat.bert4keras import layers as layers
from su_models.compat.bert4keras import models as models
from su_models.compat.bert4keras import optimizers as optimizers
from su_models.compat.bert4keras import snippets as snippets
from su_models.compat.bert4keras import tokenizers as tokenizers

__version__ = "0.11.5"  # the version whose names these are
