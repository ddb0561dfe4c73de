"""The moments in which rows were lost, or came back, once: each is a history, judged by what was acknowledged.

The random histories come to them seldom, and to some of them never in a run that somebody waits for.
Invariants 1, 7, 12 and 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedshift.catalog.alias import create_alias
from embedshift.errors import RefusedError
from tests.histories.acknowledged import CACHE_S, SKEW_S, TEXT, Action, Deed, Operation, Order, Place
from tests.histories.faults import Fault, Tampered
from tests.small_models import POISON

TO_VALIDATED = ("prepare", "load", "sync", "index", "sync", "validate")
TO_SWITCHED = (*TO_VALIDATED, "cutover")
#: A call that moves the alias, or claims it.
MOVE = "update_if embedding_alias"
#: So many calls of a kind are tried at most, one in each history.
CALLS_MOST = 12
Begin = Callable[..., Place]


def article(
    what: str, key: str, by: str = "client", *, columns: tuple[str, ...] = (*TEXT, "views"), word: str = "bread"
) -> Action:
    return Action(by, what, key, columns, word, 0)


def later(place: Place) -> None:
    """The caches of clients have run out, and no clock is so far behind."""
    place.clock.pass_by(CACHE_S + SKEW_S + 2)


def done(place: Place, *steps: str) -> None:
    for step in steps:
        result = place.step(Order(step))
        assert isinstance(result, dict), (step, result)
        place.check()


@pytest.fixture
def begin(old_model: Path, new_model: Path) -> Iterator[Begin]:
    """Begins a history with two articles, and takes it through some steps.

    ``first``: the model that the old table has, ``new`` is one that a word is too much for.
    """
    made: list[Place] = []

    def start(*steps: str, first: str = "old", **settings: dict[str, Any]) -> Place:
        models = (old_model, new_model) if first == "old" else (new_model, old_model)
        place = Place(models, Counter(), **settings)  # type: ignore[arg-type]
        made.append(place)
        place.do_all([article("add", "a"), article("add", "b")])
        later(place)
        done(place, *steps)
        return place

    yield start
    for place in made:
        place.close()


def at_each(
    begin: Begin,
    way: Sequence[str],
    before: Sequence[Deed],
    step: str,
    call: str,
    during: Sequence[Deed],
    following: Sequence[str] = (),
    **options: Any,
) -> None:
    """A step falls asleep before each call of a kind in turn, in a history of its own; meanwhile others act."""
    for at in range(1, CALLS_MOST):
        place = begin(*way, **options)
        place.do_all(before)
        place.step(Order(step), Fault(at, "act", applied=False, call=call), during)
        struck = place.struck
        place.check()
        for each in following:
            place.step(Order(each))
            place.check()
        place.close()
        if not struck:
            assert at > 1, f"{step} never came to {call}"
            return
    raise AssertionError(f"{step} came to {call} more than {CALLS_MOST} times")


# A run that has slept.


def lose_a_row(place: Place) -> None:
    """Somebody deletes in the target what nobody has deleted."""
    place.world.delete(place.prepared[-1].target.table, {"id": "a"})


@pytest.mark.parametrize(
    "during",
    [
        pytest.param((Order("back"), Order("abort")), id="another one has rolled back and aborted"),
        pytest.param((lose_a_row, Order("validate")), id="the validation of another one has failed"),
        pytest.param((Order("back"), lose_a_row, Order("validate")), id="rolled back, and the validation has failed"),
    ],
)
def test_a_cutover_that_slept_before_its_move(begin: Begin, during: Sequence[Deed]) -> None:
    at_each(begin, TO_VALIDATED, [], "cutover", MOVE, during)


def test_a_rollback_that_slept_before_its_move_after_another_one_and_an_abort(begin: Begin) -> None:
    at_each(begin, TO_SWITCHED, [later], "back", MOVE, (Order("back"), Order("abort")))


def test_a_table_to_which_somebody_points_an_alias_while_it_is_dropped(begin: Begin) -> None:
    def point_at_it(place: Place) -> None:
        old = place.alias.previous
        assert old is not None
        with suppress(RefusedError):
            create_alias(place.store, "another", old)

    at_each(begin, TO_SWITCHED, [later], "retire", "drop articles", [point_at_it])


def test_a_table_of_somebody_else_under_the_name_that_a_late_run_knows(begin: Begin) -> None:
    def take_the_name(place: Place) -> None:
        described = place.store.describe("articles_v2")
        place.store.drop("articles_v2")
        place.store.create(described)
        place.foreign["articles_v2"] = {}

    place = begin(*TO_VALIDATED)
    place.step(Order("sync"), Fault(1, "act", applied=False, call="a batch of a scan"), [take_the_name])
    assert place.struck
    place.check()


# A row that one of two tables lacks.


def test_a_row_that_a_client_wrote_to_both_tables_and_a_plain_writer_deletes(begin: Begin) -> None:
    place = begin(*TO_SWITCHED)
    later(place)
    place.do_all([article("add", "c"), article("delete", "c", "plain")])
    done(place, "back")


def test_a_row_that_a_rollback_has_carried_and_that_is_deleted_before_the_alias_moves(begin: Begin) -> None:
    before = [later, article("add", "c", "plain")]
    at_each(begin, TO_SWITCHED, before, "back", MOVE, [article("delete", "c", "plain")], ["sync", "back"])


def test_a_row_of_the_last_seconds_that_is_deleted_before_the_alias_moves(begin: Begin) -> None:
    before = [article("add", "c", "plain"), Order("sync"), Order("validate")]
    at_each(begin, TO_VALIDATED, before, "cutover", MOVE, [article("delete", "c", "plain")], ["sync", "back"])


def test_a_row_that_a_rollback_has_carried_and_that_is_deleted_on_the_next_way_on(begin: Begin) -> None:
    """It is too young to be told by its age from a row that is new in the other table."""
    before = [article("add", "c", "plain"), *map(Order, ("back", "sync", "validate"))]
    during = [article("delete", "c", "plain")]
    at_each(begin, TO_SWITCHED, before, "cutover", MOVE, during, ["sync"], sync={"clock_skew": "60s"})


def test_a_row_that_a_newer_deletion_hides_stays_where_it_came_from(begin: Begin) -> None:
    place = begin(*TO_SWITCHED)
    later(place)
    place.do_all([article("add", "c", "stray"), article("delete", "c", "plain")])
    done(place, "sync", "sync", "back")


@pytest.mark.long
def test_a_row_that_comes_while_a_pass_reads(begin: Begin) -> None:
    """One table has been read without it, and the other one is read with it."""
    during = [article("add", "c")]
    at_each(begin, TO_VALIDATED, [], "sync", "a batch of a scan", during, ["sync", "validate", "cutover", "back"])


def test_the_only_copy_of_an_article_that_the_old_model_cannot_embed(begin: Begin) -> None:
    place = begin(*TO_SWITCHED, first="new", load={"tolerate_dead": 5})
    later(place)
    place.act(article("add", "c", "plain", word=POISON))
    done(place, "back")
    later(place)
    # A validation that sees it does not pass; a sync that deletes it lets it pass.
    for step in ("sync", "validate", "cutover"):
        place.step(Order(step))
        place.check()


def test_the_only_copy_of_a_text_that_the_new_model_cannot_embed(begin: Begin) -> None:
    place = begin(*TO_SWITCHED[:2], load={"tolerate_dead": 5})
    place.act(article("add", "c", "plain", word=POISON))
    later(place)
    done(place, "sync", "index", "sync", "validate", "cutover")
    later(place)
    place.act(article("update", "c", columns=("title",)))
    done(place, "back")


def test_a_deletion_that_did_not_arrive_and_a_stray_who_has_written_since(begin: Begin) -> None:
    place = begin(*TO_SWITCHED)
    later(place)
    place.act(article("delete", "a"), Fault(1, "unavailable", applied=False, call="delete articles"))
    place.act(article("update", "a", "stray", columns=("content",)))
    done(place, "back")


def test_a_deletion_that_did_not_arrive_of_an_application_that_may_not_write_the_ledger(begin: Begin) -> None:
    """Nothing but its letter tells that the row was in both tables, and was deleted."""
    place = begin(*TO_SWITCHED)
    later(place)
    place.without_ledger.add("client")
    place.act(article("add", "c"))
    place.act(article("delete", "c"), Fault(1, "unavailable", applied=False, call="delete articles"))
    done(place, "back")


def test_a_deletion_in_the_live_table_while_what_is_hidden_may_be_overwritten(begin: Begin) -> None:
    place = begin(*TO_VALIDATED, sync={"shadowed": "overwrite"})
    later(place)
    place.step(Order("cutover"), waiting=[article("delete", "a", "plain")])
    place.check()
    done(place, "sync")


@pytest.mark.parametrize("ledger", [True, False])
def test_a_deletion_in_the_third_table_and_two_ways_back(begin: Begin, ledger: bool) -> None:
    """Clients write the first table until the second switch. What they delete after it is still there."""
    place = begin(*TO_SWITCHED)
    later(place)
    if not ledger:
        place.without_ledger.add("client")
    place.act(article("add", "c"))
    done(place, *TO_SWITCHED)
    place.do_all([article("delete", "a"), article("delete", "c")])
    place.check()
    for older in (0, 1):
        place.step(Order("back", older))
        place.check()


def test_what_a_stray_has_written_is_not_dropped_with_its_table(begin: Begin) -> None:
    place = begin(*TO_SWITCHED)
    later(place)
    place.act(article("add", "c", "stray"))
    place.step(Order("retire"))
    place.check()
    done(place, "sync", "retire")


@pytest.mark.long
def test_an_article_that_is_restored_while_a_purge_is_about_to_delete_it(begin: Begin) -> None:
    """What a purge judged is gone, as if deleted at that time; what is written later is not."""
    for at in range(1, CALLS_MOST):
        place = begin(*TO_SWITCHED)
        later(place)
        place.do_all([article("deactivate", "a"), later])
        client, door = place.clients["client"], place.doors["client"]
        restored = [article("restore", "a", "other client"), article("update", "a", "other client", columns=TEXT[:1])]
        door.inner = run = Tampered(place.store, Fault(at, "act", applied=False), lambda: place.do_all(restored))  # noqa: B023
        client.purge(timedelta(0))
        door.inner = place.store
        if not run.struck or not all(each.acknowledged for each in place.known.operations[-2:]):
            # It was deleted before anybody could restore it.
            place.note(Operation("a", place.clock.now_us(), None, place.live))
        place.check()
        place.close()
        if not run.struck:
            return
