"""Dead letters after a job: those that have succeeded since are forgotten, the others are compared with the limit."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from embedshift.catalog.dead_letters import DeadLetter, drop_dead_letter, read_dead_letters
from embedshift.embedding import DIGEST, Template, digest_texts, is_of_text
from embedshift.errors import CheckFailed, EmbedshiftError
from embedshift.spark.compare_vectors import greatest
from embedshift.spark.rows import Layout
from embedshift.spark.stores import Stores
from embedshift.spark.task import carry_rows
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type, from_json
from embedshift.stores.model import write_time


def settle_dead_letters(store: Store, transfer: Transfer) -> list[DeadLetter]:
    """Forget the letters whose row is gone from the source, or is now in the target. Returns the others.

    Only letters of the transfer's own direction count: on the way back, a row that never arrived is missing in its
    source, and without its letter it would be deleted as an orphan.
    """
    layout = transfer.layout
    remaining = []
    for letter in read_dead_letters(store, transfer.migration):
        if letter.of_way_back != transfer.backwards:
            continue
        if _settled(store, layout, letter):
            drop_dead_letter(store, transfer.migration, letter.id, of_way_back=letter.of_way_back)
        else:
            remaining.append(letter)
    return remaining


def retry_dead_letters(store: Store, transfer: Transfer, letters: Sequence[DeadLetter]) -> None:
    """Compare, embed and write the rows of some letters in this process; forget the letters of those that succeed.

    Raises:
        CheckFailed: the model cannot be loaded, or the store fails: nothing is known about the rows themselves.
    """
    try:
        carry_rows(Stores.one(store), transfer, _keys(transfer.layout, letters))
    except EmbedshiftError as error:
        raise CheckFailed(f"the rows could not be tried again: {error}") from error
    settle_dead_letters(store, transfer)


def _keys(layout: Layout, letters: Sequence[DeadLetter]) -> pa.RecordBatch:
    values = [json.loads(letter.id) for letter in letters]
    return pa.RecordBatch.from_pydict(
        {c.name: pa.array([from_json(c.type, row[c.name]) for row in values], arrow_type(c.type)) for c in layout.keys}
    )


def _settled(store: Store, layout: Layout, letter: DeadLetter) -> bool:
    """Whether what the letter tells of is true in the target: the row is there as it is in the source, or is gone."""
    values, key = json.loads(letter.id), _keys(layout, [letter])
    template = Template.parse(layout.source.text)
    text = [name for name in template.columns if name not in values]
    row = store.fetch(layout.source_table, key, values=text)
    times = [column.name for column in (*layout.carried, *layout.made)]
    copy = store.fetch(layout.target_table, key, values=[DIGEST] if layout.target.digests else [], times=times)
    if copy.num_rows == 0:
        return bool(row.num_rows == 0)
    newest = greatest([copy.column(write_time(name)) for name in times])[0].as_py() or 0
    if row.num_rows == 0:
        # Of a letter that does not say when, the next pass decides; a newer row there is somebody's own.
        return not letter.at_us or (letter.deletes and newest > letter.at_us)
    if not letter.deletes and newest < letter.at_us:
        return False
    if not layout.target.digests:
        return True
    wanted = digest_texts(layout.target.model.fingerprint, template.render(row), template.empty(row))
    return is_of_text(copy.column(DIGEST)[0].as_py(), wanted[0].as_py())


def check_dead_letters(letters: list[DeadLetter], rows: int, tolerated: float) -> None:
    """Raises CheckFailed if there are more dead rows than tolerated: a number, or, if below 1, a share of all rows."""
    limit = tolerated if tolerated >= 1 or tolerated == 0 else tolerated * rows
    if len(letters) > limit:
        first = letters[0]
        raise CheckFailed(
            f"{len(letters)} of {rows:,} rows are dead letters, such as {first.id}: {first.reason}",
            hint="fix these rows and run the step again, or raise load.tolerate_dead",
        )
