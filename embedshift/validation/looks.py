"""A table that is written to all the time is looked at several times, until its differences are explained or repaired.

A look compares as of a moment. A row that differs and was written since is in doubt, and so is what the source has
lost: a deletion has no time. These rows are carried once more and looked at again. Whoever still differs then without
having been changed in the source since the look before is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from embedshift.validation.survey_result import Doubtful, Survey

#: How often a row is looked at before it counts as not proved.
LOOKS = 3
#: Carries the rows in doubt once more, and surveys them; told whether this is the last time.
LookAgain = Callable[[Sequence[pa.RecordBatch], bool], Survey]


def settled(first: Survey, look_again: LookAgain) -> Survey:
    """The survey in which no row is in doubt any more; what is in doubt after the last look is not proved.

    Args:
        first: of every row, as of a moment.
    """
    found = first
    for number in range(2, LOOKS + 1):
        if found.doubtful.rows:
            again = look_again(found.doubtful.batches, number == LOOKS)
            found = replace(found, doubtful=Doubtful()) + again
    return found
