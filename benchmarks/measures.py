"""The measures: each name is a module of this package with a function ``measure(*, quick) -> list[Result]``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One module.

    Args:
        name: the module's name.
        title: its title on the page.
        node: whether it needs a Cassandra.
    """

    name: str
    title: str
    node: bool = False


#: In the order in which they run, the short ones first: if the time is not enough, the last are left out.
MEASURES = (
    Measure("commands", "Commands that only look"),
    Measure("reading", "Reading tables and vectors", node=True),
    Measure("writing", "Writing vectors", node=True),
    Measure("neighbours", "Exact neighbours"),
    Measure("embedding", "The embedding stage"),
    Measure("service", "A model behind HTTP"),
    Measure("loading", "The whole load", node=True),
    Measure("copying", "Copying vectors", node=True),
    Measure("syncing", "Sync that finds nothing", node=True),
    Measure("small_ranges", "Small ranges", node=True),
    Measure("starting", "Time to the first row"),
    Measure("scale", "Memory and cost by size"),
    Measure("naive", "The program in tutorials", node=True),
)
