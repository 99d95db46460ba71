"""What several operators share."""

from __future__ import annotations

import numpy as np

from tickc.runtime.batch import Text, Vocabulary

NO_TEXT = Vocabulary([""])


def no_text(n: int) -> Text:
    """`n` empty strings: what stands for the database and policy that a node drops."""
    return Text(np.broadcast_to(np.int32(0), (n,)), NO_TEXT)
