"""One of the two tables, as a question meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.embedding import Model
from jobs.quality.relevance import ranked_ids
from jobs.stores.contract import Index, Store, Table


@dataclass(frozen=True, slots=True)
class Side:
    """A table with its index, the column that names its articles, and the model of its questions.

    The model is loaded when it is first asked for: not every look at a table needs it.
    """

    store: Store
    table: Table
    index: Index
    id: str
    model: Callable[[], Model]

    @property
    def searchable(self) -> bool:
        """Whether the table can be searched: a live table without an index has other means."""
        return self.store.index_state(self.index).status == "serving"

    def answers(self, question: str, k: int) -> list[str]:
        """The articles that answer a question, best first, each once; of at most ``k`` rows found."""
        values = [] if any(key.name == self.id for key in self.table.keys) else [self.id]
        hits = self.store.search(self.table, self.index, self.model().embed_question(question), k, values=values)
        return ranked_ids(hits, self.table, self.id)
