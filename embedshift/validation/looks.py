"""A table that is written to all the time is looked at several times, until its differences are explained or repaired.

A look compares as of a moment. A row that differs and was written since is in doubt, and so is what the source has
lost: a deletion has no time. These rows are carried once more and looked at again, as of the moment before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from embedshift.validation.survey_result import Doubtful, Survey

#: How often a row is looked at before it counts as not proved.
LOOKS = 3
#: Surveys the rows with some keys, without carrying them before, after it, or for the last time.
LookAgain = Callable[[Sequence[pa.RecordBatch]], Survey]


def settled(first: Survey, *, at_once: LookAgain, carried: LookAgain, last: LookAgain) -> Survey:
    """The survey in which no row is in doubt any more.

    Args:
        first: of every row, as of a moment.
        at_once: surveys rows as they are; every difference is a fault.
        carried: carries rows once more, then surveys them as of the moment before that.
        last: the same, and what is still in doubt is counted as not proved.
    """
    found = first
    if found.doubtful.rows and not found.written_since:
        # Nobody writes to this table, so nothing explains what the source lacks.
        return _with(found, at_once)
    for look in [carried] * (LOOKS - 2) + [last]:
        if found.doubtful.rows:
            found = _with(found, look)
    return found


def _with(found: Survey, look: LookAgain) -> Survey:
    return replace(found, doubtful=Doubtful()) + look(found.doubtful.keys)
