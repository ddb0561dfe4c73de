"""The checks of a validation: what was measured, what is allowed, and whether the cutover may follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite

from embedshift.settings import ValidationSettings
from embedshift.validation.latency import Latency
from embedshift.validation.overlap import Mean
from embedshift.validation.recall import Recall, wilson
from embedshift.validation.reembed import Reembedding
from embedshift.validation.relevance import Relevance
from embedshift.validation.survey_result import Survey
from embedshift.validation.truncation import Lengths
from embedshift.validation.unlabelled import Unlabelled

#: Texts that differ only after the model's maximum length have the same vector: up to this share is not a fault.
_DUPLICATES_SHARE = 0.01
#: How far an index's own count may differ from a table that is being written to.
_LIVE_LAG_SHARE = 0.001

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: stable, because scripts use it.
        value: what was measured; None if it was not measured.
        limit: a maximum for faults, a minimum for scores.
        passed: the verdict; None if it was not measured, or not of all that it is about.
        denominator: how many rows, vectors or questions it was measured on.
        note: further information for people; may be empty.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool | None
    denominator: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is allowed of rows.

    Args:
        dead_letters: rows that could not be embedded or written: a number, or, if below 1, a share of the source's.
        unproved: the share of the source's rows that may have been written again at the last look.
        normalized: whether vectors should have length 1.
    """

    dead_letters: float
    unproved: float
    normalized: bool


def checks(
    survey: Survey,
    recall: Recall | None,
    relevance: Relevance | None,
    settings: ValidationSettings,
    dead_letters: int,
    allowed: Allowed,
    *,
    index_rows: int | None = None,
    changed: int = 0,
    lost: int | None = None,
    reembedding: Reembedding | None = None,
    lengths: Lengths | None = None,
    unlabelled: Unlabelled | None = None,
    latency: Latency | None = None,
    left_out: Sequence[str] = (),
) -> list[Check]:
    """Every check, in reading order.

    Args:
        survey: of the whole ring.
        recall: recall@10; None if there was no vector to search for.
        relevance: None if there are no labelled questions.
        settings: the limits.
        dead_letters: rows that could not be embedded or written.
        allowed: what is allowed of rows.
        index_rows: vectors that the index says it has; None if the store cannot say.
        changed: rows of the target by which both counts may differ, since they changed about then.
        lost: vectors written since the index was built that it does not find; None if every write reaches the index.
        reembedding: of a sample that was embedded again; None if it was not.
        lengths: the lengths of texts in tokens; None if the model does not tell them.
        unlabelled: what was measured without labelled questions; None if nothing was.
        latency: None if it was not measured.
        left_out: columns of the source that the target does not have.
    """
    return [
        *row_checks(survey, dead_letters, allowed, left_out),
        _truncated(lengths, settings.truncated),
        _reembedding(reembedding),
        _index_rows(survey, index_rows, changed, log_fed=lost is not None),
        *([] if lost is None else [_index_recent(survey, lost)]),
        _recall(survey, recall, settings.recall_at_10),
        _relevance(relevance, settings.relevance_drop),
        *([] if relevance is not None or survey.vectors == 0 else _unlabelled(unlabelled, settings)),
        *([] if settings.latency_ratio is None or survey.vectors == 0 else [_latency(latency, settings.latency_ratio)]),
    ]


def row_checks(survey: Survey, dead_letters: int, allowed: Allowed, left_out: Sequence[str] = ()) -> list[Check]:
    """The checks that depend only on the rows.

    Args:
        survey: of the whole ring.
        dead_letters: rows that could not be embedded or written.
        allowed: what is allowed of rows.
        left_out: columns of the source that the target does not have.
    """
    tolerated = allowed.dead_letters
    most_dead = tolerated if tolerated >= 1 else floor(tolerated * survey.source_rows)
    # A tolerated dead letter is a row that is not in the target, or has its former vector there.
    excused = dead_letters if dead_letters <= most_dead else 0
    return [
        _rows(survey, excused),
        _columns(left_out),
        _none_of("missing", survey.missing, survey.source_rows, excused),
        _none_of("orphans", survey.orphans, survey.target_rows),
        _none_of("stale", survey.stale, survey.source_rows, excused),
        _none_of("older_cells", survey.older_cells, survey.source_rows, excused),
        _unproved(survey, allowed.unproved),
        _none_of("without_vector", survey.without_vector, survey.with_text, excused),
        _mixed(survey),
        _of_vectors("finite", survey.nonfinite, survey),
        _of_vectors("unit_norm", survey.not_unit, survey, "" if allowed.normalized else "the model does not normalise"),
        _of_vectors("dimension", survey.wrong_dimension, survey),
        _duplicates(survey),
        Check("dead_letters", dead_letters, most_dead, dead_letters <= most_dead, survey.source_rows),
    ]


def _not_measured(name: str, limit: float | None, reason: str, *, needed: bool = False) -> Check:
    """A check that says nothing; if it is needed, because its limit was asked for, it fails."""
    words = "it cannot be measured" if needed else "not measured"
    return Check(name, None, limit, False if needed else None, 0, f"{words}: {reason}")


def _none_of(name: str, faults: int, of: int, allowed: int = 0) -> Check:
    return Check(name, faults, allowed, faults <= allowed, of)


def _of_vectors(name: str, faults: int, survey: Survey, reason: str = "") -> Check:
    if reason or not survey.vectors:
        return _not_measured(name, 0, reason or "there are no vectors")
    return _none_of(name, faults, survey.vectors)


def _mixed(survey: Survey) -> Check:
    """Vectors that are not the ones that were written with their digests."""
    unnamed = survey.unnamed
    if survey.mixed or not unnamed:
        return _of_vectors("mixed", survey.mixed, survey)
    reason = f"{unnamed:,} of {survey.vectors:,} digests name no vector: an earlier version or others wrote them"
    return Check("mixed", None, 0, None, survey.vectors - unnamed, f"not measured: {reason}")


def _unproved(survey: Survey, share: float) -> Check:
    most = floor(share * survey.source_rows)
    note = "changed before each look, or too many to look at again" if survey.unproved else ""
    return Check("unproved", survey.unproved, most, survey.unproved <= most, survey.source_rows, note)


def _columns(left_out: Sequence[str]) -> Check:
    note = f"the target does not have {', '.join(left_out)}" if left_out else ""
    return Check("columns", len(left_out), 0, not left_out, note=note)


def _rows(survey: Survey, excused: int) -> Check:
    lacking = survey.source_rows - survey.target_rows
    note = "the source is empty" if survey.source_rows == 0 else ""
    if survey.in_flight:
        note = f"{survey.in_flight} rows were being written and agreed when they were read again"
    passed = -survey.unproved <= lacking <= excused + survey.unproved
    return Check("rows", survey.target_rows, survey.source_rows, passed, survey.source_rows, note)


def _duplicates(survey: Survey) -> Check:
    found = survey.duplicates
    # One pair in a small table proves nothing.
    most = max(1, floor(_DUPLICATES_SHARE * survey.vectors))
    note = "" if survey.repeats.sampled == 1 else "at least: above a million vectors only a sample is compared"
    if survey.vectors < 2:
        return _not_measured("duplicates", most, "there are no two vectors")
    return Check("duplicates", found, most, found <= most, survey.vectors, note)


def _truncated(lengths: Lengths | None, most: float) -> Check:
    if lengths is None:
        return _not_measured("truncated", most, "the model does not tell how long a text is", needed=most < 1)
    limit = "any length" if lengths.max_length is None else f"{lengths.max_length} tokens"
    note = f"{lengths.cut} of {lengths.of} texts; the model reads {limit}"
    return Check("truncated", lengths.share, most, lengths.share <= most, lengths.of, note)


def _reembedding(reembedding: Reembedding | None) -> Check:
    if reembedding is None or not reembedding.sample:
        reason = "validation.reembed_sample is 0" if reembedding is None else "there are no vectors of present texts"
        return _not_measured("reembedding_differs", 0, reason)
    elsewhere, sample = reembedding.disagreeing, reembedding.sample
    note = f"of a sample that was embedded again; lowest cosine {reembedding.least:.5f}"
    return Check("reembedding_differs", elsewhere, 0, elsewhere == 0, sample, note)


def _index_rows(survey: Survey, index_rows: int | None, changed: int, *, log_fed: bool) -> Check:
    wanted = indexable_rows(survey)
    if index_rows is None:
        return _not_measured("index_rows", wanted, "the store cannot say how many vectors its index holds")
    # While applications write, the index is asked a little later than the table was counted.
    changed = max(survey.in_flight, changed)
    lag = max(changed, floor(_LIVE_LAG_SHARE * wanted)) if changed else 0
    # Deletions that the log did not tell of stay in such an index, and take the places of what could be found.
    more = log_fed and index_rows > wanted + lag
    note = "it has rows that were deleted: embedshift index --rebuild" if more else ""
    return Check("index_rows", index_rows, wanted - lag, index_rows >= wanted - lag and not more, wanted, note)


def _index_recent(survey: Survey, lost: int) -> Check:
    recent = survey.recent
    note = f"of {recent.count} vectors written since the index was built, {recent.rows} were searched for"
    return Check("index_recent", lost, 0, lost == 0, recent.rows, note)


def indexable_rows(survey: Survey) -> int:
    """How many of the vectors that were surveyed an index has."""
    return survey.vectors - survey.nonfinite - survey.wrong_dimension


def _recall(survey: Survey, recall: Recall | None, least: float) -> Check:
    name = "recall_at_10"
    if recall is None or not isfinite(recall.value):
        # A row that finds itself proves nothing, so the only row of a table has nothing to find.
        alone = survey.vectors < 2
        reason = "there are no neighbours to find" if alone else "no article was found whose vector can be searched for"
        return _not_measured(name, least, reason, needed=not alone)
    note = f"{recall.low:.4f} to {recall.high:.4f}; the lower end is compared with the limit"
    if recall.value == 1 and recall.low < least:
        note = (
            f"all were found, but {recall.probes} probes prove no more than {recall.low:.4f}, which is below the limit"
        )
    return Check(name, recall.value, least, recall.low >= least or recall.value == 1, recall.probes, note)


def _relevance(relevance: Relevance | None, drop: float) -> Check:
    name = "relevance_ndcg_at_10"
    if relevance is None:
        return _not_measured(name, -drop, "there are no labelled questions")
    return _no_worse(name, relevance, drop)


def _no_worse(name: str, relevance: Relevance, drop: float) -> Check:
    if relevance.questions == 0:
        strange = len(relevance.unanswerable)
        return _not_measured(name, -drop, f"the table has no article of any of the {strange} questions", needed=True)
    change = relevance.differences["ndcg@10"]
    passed = change.low >= -drop - _ROUNDING
    note = f"new minus old: {change.low:+.4f} to {change.high:+.4f}, p = {change.p_value:.3g}"
    if not passed:
        note += "; worse" if change.high < -drop else "; too few questions to tell"
    if relevance.unanswerable:
        note += f"; {len(relevance.unanswerable)} questions left out because the table has none of their articles"
    return Check(name, change.mean, -drop, passed, relevance.questions, note)


def _unlabelled(unlabelled: Unlabelled | None, settings: ValidationSettings) -> list[Check]:
    """The checks without labelled questions whose limits are set."""
    made: list[Check] = []
    if (least := settings.overlap_at_10) is not None:
        made.append(
            _least(
                "overlap_at_10",
                least,
                None if unlabelled is None else unlabelled.overlap,
                unlabelled.questions if unlabelled else 0,
            )
        )
    if (least := settings.self_retrieval) is not None:
        found = None if unlabelled is None else _found(unlabelled, settings.confidence)
        made.append(_least("self_retrieval", least, found, unlabelled.probes if unlabelled else 0))
    if (drop := settings.titles_drop) is not None:
        name = "titles_ndcg_at_10"
        if unlabelled is None or unlabelled.titles is None:
            reason = "the template has no title, or the old table or its model cannot be asked"
            made.append(_not_measured(name, -drop, reason, needed=True))
        else:
            made.append(_no_worse(name, unlabelled.titles, drop))
    return made


def _found(unlabelled: Unlabelled, confidence: float) -> Mean:
    share = unlabelled.found["new"]
    return Mean(share, *wilson(share, unlabelled.probes, confidence))


def _least(name: str, least: float, found: Mean | None, of: int) -> Check:
    if found is None:
        return _not_measured(name, least, "the old table or its model cannot be asked", needed=True)
    note = f"{found.low:.4f} to {found.high:.4f}; the lower end is compared with the limit"
    return Check(name, found.mean, least, found.low >= least or found.mean == 1, of, note)


def _latency(latency: Latency | None, most: float) -> Check:
    name = "latency_ratio"
    if latency is None:
        return _not_measured(name, most, "the old table has no index, or no search is timed", needed=True)
    ratios = latency.ratios()
    note = ", ".join(
        f"{clients} client{'s' if clients > 1 else ''}: p95 {latency.old[clients].at(95):.1f} ms to "
        f"{latency.new[clients].at(95):.1f} ms"
        for clients in ratios
    )
    worst = max(ratios.values())
    return Check(name, worst, most, worst <= most, min(len(times.ms) for times in latency.new.values()), note)
