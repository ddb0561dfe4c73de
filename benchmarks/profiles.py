"""Where processor time is spent: ``python -m benchmarks.profiles embedding | attention | pages | binding | sync``."""

from __future__ import annotations

import cProfile
import pstats
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

from benchmarks.corpus import cranfield, log_normal, texts
from benchmarks.embedding import MODEL
from benchmarks.scenes import DIMENSION, cells, fill, scene
from embedshift.embedding import DIGEST, choose_precision, load_model, use_threads
from embedshift.settings import ModelSettings
from embedshift.spark.stores import Stores
from embedshift.spark.task import comparison_of
from embedshift.spark.transfer import transfer_of
from embedshift.stores.cql import wire
from embedshift.stores.cql.batch import WriteBatch
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table
from embedshift.tokens import WHOLE_RING
from tests.world import ARTICLE

_TRIES = 7
_TYPES = ("bigint", "text", "text", "text", "bigint", "int", "bigint", "int")


def embedding() -> None:
    """The shares of the network's operators, in the precision that ``auto`` chooses here."""
    from torch.profiler import ProfilerActivity, profile

    use_threads(1)
    documents = texts(cranfield(128) or log_normal(128))
    settings = ModelSettings(name=MODEL)
    precision = choose_precision(settings, documents[:64])
    model = load_model(settings, precision)
    model.embed(documents[:16])
    with profile(activities=[ProfilerActivity.CPU]) as operators:
        model.embed(documents)
    alone = _least_us(lambda: model.count_tokens(documents), 1) / _least_us(lambda: model.embed(documents), 1)
    print(f"{precision}, {len(documents)} documents, one thread; tokenising them takes {alone:.1%} of the whole")
    print(operators.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=50))


def attention() -> None:
    """For one batch in bfloat16 with padding, in one thread: our attention, and torch's own kernel."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from embedshift.embedding import attention as module

    use_threads(1)
    print(f"it is used on this processor: {not module.has_amx()}")
    with torch.inference_mode():
        for (heads, width), (number, tokens) in product(
            ((12, 32), (16, 64)), ((2, 512), (5, 200), (10, 100), (20, 50))
        ):
            query, key, value = torch.randn(3, number, tokens, heads, width).bfloat16().transpose(2, 3)
            mask = torch.ones(number, 1, tokens, tokens, dtype=torch.bool)
            mask[0, :, :, -3:] = False
            ours = _least_us(partial(module.attention, query, key, value, mask), 50)
            theirs = _least_us(partial(scaled_dot_product_attention, query, key, value, mask), 50)
            shape = f"{number} texts of {tokens} tokens, {heads} heads of {width}"
            print(f"{shape}: {ours:,.0f} µs, torch's {theirs:,.0f} µs, {theirs / ours:.2f} ×")


def pages() -> None:
    """A page of text with write times and TTLs as Arrow columns, and as the driver's own rows."""
    rows = 2000
    body = b"".join(_row(number, each) for number, each in enumerate(log_normal(rows)))
    page = wire.Page(body, 0, rows, len(_TYPES))

    def ours() -> None:
        starts, lengths = wire.cells(page)
        for place, each in enumerate(_TYPES):
            wire.column(page, starts[:, place], lengths[:, place], each)

    for name, work in (("into Arrow columns", ours), ("the driver's rows", _driver(struct.pack(">i", rows) + body))):
        print(f"{name}: {_least_us(work) / rows:.2f} µs per row of {len(_TYPES)} cells")


def binding() -> None:
    """Rows with vectors as the bytes that a request binds, and the driver's own binding of only the vectors."""
    from cassandra.cqltypes import lookup_casstype

    rows, marshal = 1000, "org.apache.cassandra.db.marshal"
    batch = cells(log_normal(rows), 1)
    made = (Column("embedding", vector_type(DIMENSION)), Column(DIGEST, "blob"))
    table = Table("articles", (*ARTICLE, *made))
    kind = lookup_casstype(f"{marshal}.VectorType({marshal}.FloatType, {DIMENSION})")
    vectors = batch.column("embedding").to_pylist()
    ours = _least_us(lambda: WriteBatch(table, batch)) / rows
    theirs = _least_us(lambda: [kind.serialize(each, 4) for each in vectors]) / rows
    print(f"whole rows: {ours:.1f} µs each; the driver's binding of only their vectors: {theirs:.1f} µs")


def sync() -> None:
    """The functions that cost most in a comparison that finds nothing, on the embedded store, all in one thread."""
    rows = 50_000
    # One range, because the reading of a task is limited to a share of the table.
    with scene("embedded", load={"ranges": 1}) as world:
        fill(world, log_normal(rows))
        world.step("prepare")
        world.carry("load")
        transfer = transfer_of(world.settings, world.store, world.migration, "sync")
        comparison = comparison_of(Stores.one(world.store), transfer)

        def compare() -> int:
            return sum(window.counts.unchanged for window in comparison.windows(WHOLE_RING))

        compare()
        profiler = cProfile.Profile(time.process_time)
        unchanged = profiler.runcall(compare)
    print(f"{unchanged:,} pairs that are the same")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def _row(number: int, article: dict[str, str]) -> bytes:
    parts = [article[name].encode() for name in ("id", "title", "content")]
    moment = struct.pack(">q", 1_700_000_000_000_000 + number)
    values = (struct.pack(">q", number), *parts, moment, None, moment, None)
    return b"".join(struct.pack(">i", -1) if each is None else struct.pack(">i", len(each)) + each for each in values)


def _driver(body: bytes) -> Callable[[], Any]:
    from cassandra.bytesio import BytesIOReader
    from cassandra.cqltypes import Int32Type, LongType, UTF8Type
    from cassandra.deserializers import make_deserializers
    from cassandra.obj_parser import ListParser
    from cassandra.parsing import ParseDesc
    from cassandra.query import named_tuple_factory

    known = {"bigint": LongType, "int": Int32Type, "text": UTF8Type}
    types = [known[each] for each in _TYPES]
    names = [f"c{place}" for place in range(len(types))]
    layout = ParseDesc(names, types, None, [None] * len(types), make_deserializers(types), 4)
    return lambda: named_tuple_factory(names, ListParser().parse_rows(BytesIOReader(body), layout))


def _least_us(work: Callable[[], Any], tries: int = _TRIES) -> float:
    took = []
    for _ in range(tries):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return min(took) * 1e6


if __name__ == "__main__":
    {"embedding": embedding, "attention": attention, "pages": pages, "binding": binding, "sync": sync}[sys.argv[1]]()
