"""What the poller finds in the catalog, and how little it reads for it."""

from __future__ import annotations

import json

from embedshift.catalog.actor import shown
from embedshift.catalog.lease import owned
from embedshift.catalog.ranges import Counts, RangeRecord, read_ranges, write_ranges
from embedshift.catalog.states import NEXT
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.progress import steps_of
from embedshift.monitoring.range_totals import RangeTotals, total_of
from embedshift.monitoring.render import headline, line, rows
from embedshift.tokens import WHOLE_RING
from tests.monitoring.conftest import carry


def test_a_migration_at_rest_shows_its_load_and_the_next_step(world):
    snapshot = Poller(world.settings, world.store).look()
    assert (snapshot.state, snapshot.running, snapshot.next) == ("prepared", None, "embedshift load")
    assert [each.state for each in snapshot.steps[:2]] == ["done", "to come"]
    assert snapshot.work is not None
    assert (snapshot.work.step, snapshot.work.done, snapshot.work.ranges) == ("load", 0, 40)
    assert headline(snapshot) == "prepared; nothing is running"
    assert json.loads(json.dumps(snapshot.plain()))["work"]["ranges"] == 40


def test_a_run_is_seen_with_its_figures(world):
    poller = Poller(world.settings, world.store)
    with owned(world.store, world.migration, "load", world.settings.cutover.lease) as lease:
        carry(world, 4)
        carry(world, 1, state="failed")
        snapshot = poller.look()
        said = dict(rows(snapshot))
        assert (snapshot.running, snapshot.owner) == ("load", shown(lease.owner))
        assert snapshot.steps[1].state == "running"
        assert said["ranges"] == "4 of 40 done (10.0 %), 1 failed"
        assert said["rows"] == "20 of about 40 read: 16 written, 0 unchanged, 4 dead; 0 deleted"
        assert "load; 4/40 ranges; 20 of about 40 rows; " in line(snapshot)
        assert len(snapshot.work.slowest) == 5
    assert poller.look().running is None


def test_a_pass_of_sync_is_shown_under_its_own_name(world):
    with owned(world.store, world.migration, "load", world.settings.cutover.lease) as lease:
        lease.change(state="indexed")
    with owned(world.store, world.migration, "sync", world.settings.cutover.lease) as lease:
        lease.change(sync_pass=3, sync_pass_open=True)
        write_ranges(world.store, world.migration.id, "sync/3", [RangeRecord(each) for each in WHOLE_RING.split(8)])
        snapshot = Poller(world.settings, world.store).look()
    assert (snapshot.running, snapshot.work.step, snapshot.work.ranges) == ("sync", "sync/3", 8)
    assert [each.name for each in snapshot.steps if each.state == "running"] == ["sync"]


def test_every_state_has_its_steps():
    for state in NEXT:
        assert [each.name for each in steps_of(state, None)] == [each.name for each in steps_of("prepared", "load")]
    assert [each.state for each in steps_of("rolling_back", "rollback")][-1] == "running"


def test_where_there_is_nothing_yet_that_is_said(new_world):
    world = new_world()
    snapshot = Poller(world.settings, world.store).look()
    assert (snapshot.migration, snapshot.work, headline(snapshot)) == (None, None, "no migration yet")
    assert snapshot.next == "embedshift prepare"


def test_settled_and_untouched_buckets_are_not_read_again(world, monkeypatch):
    monkeypatch.setattr("embedshift.monitoring.range_totals.FEW", 100)
    parts = WHOLE_RING.split(1600)
    write_ranges(world.store, "many", "load", [RangeRecord(each) for each in parts])
    totals = RangeTotals(world.store, "many", "load")
    assert totals.look().planned == totals.read == 1600
    # As Spark does it: bucket after bucket, which is the order in which they are read.
    for _ in range(8):
        planned = [each.range for each in read_ranges(world.store, "many", "load") if each.state == "planned"]
        done = [RangeRecord(each, "done", Counts(1, 1), 1) for each in planned[:200]]
        write_ranges(world.store, "many", "load", done)
        total = totals.look()
        assert total == total_of(read_ranges(world.store, "many", "load"))
        assert totals.read <= 800
    assert total.settled
    assert totals.look().settled
