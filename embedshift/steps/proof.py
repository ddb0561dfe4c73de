"""What a target is proved by: a survey of every row of both tables, in several looks, and the content that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.lease import Lease
from embedshift.catalog.migration import Migration, read_migration
from embedshift.catalog.vector_table import VectorTable, proven_model
from embedshift.settings import Settings
from embedshift.spark.aggregate import aggregate
from embedshift.spark.ranges import plan_ranges
from embedshift.spark.task import carry_rows, worker_stores
from embedshift.spark.transfer import Transfer, reachable, transfer_of
from embedshift.stores.contract import Store
from embedshift.times import now_us, to_us
from embedshift.validation.checks import Allowed, Check, row_checks
from embedshift.validation.content_hash import Content, content_of
from embedshift.validation.looks import settled
from embedshift.validation.survey import Look, survey_range, survey_rows
from embedshift.validation.survey_result import Survey
from embedshift.validation.table_pair import Subject
from embedshift.validation.truncation import cut_by
from embedshift.validation.validation import NEIGHBOURS

if TYPE_CHECKING:
    from pyspark import SparkContext

#: A column of this name colours the picture of the articles.
_GROUPS = "subject"


def subject_of(store: Store, migration: Migration) -> Subject:
    """The two tables of a migration, as ``validation`` takes them."""
    target = store.describe(migration.target.table)
    groups = target.column(_GROUPS)
    return Subject(
        source=store.describe(migration.source.table),
        target=target,
        text=migration.source.text,
        source_vector=migration.source.vector,
        target_vector=migration.target.vector,
        fingerprint=migration.target.model.fingerprint,
        dimension=migration.target.model.dimension,
        normalized=migration.target.model.normalize,
        metric=migration.target.index_options.metric,
        source_digests=migration.source.digests,
        groups=_GROUPS if groups is not None and groups.type == "text" else None,
    )


def allowed_of(settings: Settings, migration: Migration) -> Allowed:
    """What a validation of a migration allows of rows."""
    return Allowed(settings.load.tolerate_dead, settings.validation.unproved, migration.target.model.normalize)


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Surveys both tables of a migration on Spark, for a run that owns it and as long as the source is live.

    Args:
        reader: the target's model and its device, if the texts that it cuts are to be counted.
    """

    settings: Settings
    store: Store
    spark: SparkContext
    lease: Lease
    reader: tuple[VectorTable, str] | None = None

    def survey(self, probes: NDArray[np.float32] | None = None) -> Survey:
        """Compare every row as of the last clean pass; carry what has changed since once more, and look again.

        Args:
            probes: shape (n, dimension): vectors whose exact neighbours are wanted.
        """
        migration = read_migration(self.store, self.lease.migration)
        moment_us = (migration.facts.compared_us or now_us()) - to_us(self.settings.sync.clock_skew)
        look = Look(
            moment_us=moment_us,
            window_rows=self.settings.load.window_rows,
            k=NEIGHBOURS,
            indexed_us=self.store.write_floor(migration.target.table),
        )
        asked = _Asked(subject_of(self.store, migration), look, self.spark.broadcast(probes), self.reader)
        ranges = plan_ranges(self.store, migration.source.table, self.settings.load.ranges)
        first = aggregate(self.spark, reachable(self.settings.store), ranges, partial(_survey_range, asked))
        return settled(first, partial(self._look_again, migration, asked))

    def _look_again(
        self, migration: Migration, asked: _Asked, doubtful: Sequence[pa.RecordBatch], last: bool
    ) -> Survey:
        """Carry rows once more, and survey them."""
        transfer = transfer_of(
            self.settings, self.store, migration, "validate", read_back=True, owner=self.lease.owner, throttled=False
        )
        work = partial(_survey_rows, replace(asked, look=replace(asked.look, last=last)), transfer)
        return aggregate(self.spark, reachable(self.settings.store), doubtful, work)

    def row_checks(self) -> list[Check]:
        """The checks that look at every row."""
        survey, migration = self.survey(), read_migration(self.store, self.lease.migration)
        dead = sum(1 for _ in read_dead_letters(self.store, migration.id))
        subject = subject_of(self.store, migration)
        return row_checks(survey, dead, allowed_of(self.settings, migration), subject.left_out)

    def content(self) -> Content:
        """The content of the target at this moment."""
        migration = read_migration(self.store, self.lease.migration)
        ranges = plan_ranges(self.store, migration.target.table, self.settings.load.ranges)
        work = partial(_content, subject_of(self.store, migration), self.settings.load.window_rows)
        return aggregate(self.spark, reachable(self.settings.store), ranges, work)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a task must know to survey a part of the tables; it is sent to executors."""

    subject: Subject
    look: Look
    probes: Any
    reader: tuple[VectorTable, str] | None

    def here(self, store: Store) -> Look:
        """The look with what only the process of the task has."""
        cut = cut_by(proven_model(store, *self.reader)) if self.reader else None
        return replace(self.look, probes=self.probes.value, cut=cut)


def _survey_range(asked: _Asked, store: Store, within: Any) -> Survey:
    return survey_range(store, asked.subject, within, asked.here(store))


def _survey_rows(asked: _Asked, transfer: Transfer, store: Store, doubtful: pa.RecordBatch) -> Survey:
    carry_rows(worker_stores(transfer), transfer, doubtful.select(asked.subject.keys))
    return survey_rows(store, asked.subject, doubtful, asked.here(store))


def _content(subject: Subject, window_rows: int, store: Store, within: Any) -> Content:
    return content_of(store, subject, within, window_rows=window_rows)
