"""The text of an article: a template such as ``"{title}. {content}"`` over the columns of a table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from string import Formatter

import pyarrow as pa
import pyarrow.compute as pc

from embedshift.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and column names in turn: ``parts[i]`` is ``(literal, column or None)``."""

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template. Raises SettingsError if a brace has no partner or holds more than a column's name."""
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise SettingsError(f"the text template {text!r} cannot be read ({error})") from error
        for _, column, form, conversion in pieces:
            if column is not None and (not column.isidentifier() or form or conversion):
                raise SettingsError(
                    f"the text template {text!r} has {{{column}}}", hint="write only a column's name in braces"
                )
        template = cls(tuple((literal, column) for literal, column, _, _ in pieces))
        if not template.columns:
            raise SettingsError(f"the text template {text!r} names no column", hint='write one such as "{title}"')
        return template

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    def check(self, known: dict[str, bool], table: str) -> None:
        """Compare with the columns of a table; ``known`` says for each whether its values can be read as text.

        Raises:
            SettingsError: a column is unknown, or contains no text, number or boolean.
        """
        for column in self.columns:
            if column not in known:
                near = difflib.get_close_matches(column, known, n=1)
                advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                raise SettingsError(f"the text template names {column}, which {table} does not have", hint=advice)
            if not known[column]:
                raise SettingsError(
                    f"the text template names {table}.{column}, which contains no text, number or boolean"
                )

    def render(self, rows: pa.RecordBatch) -> pa.Array:
        """The texts of a batch: an Arrow string array of its length; a null counts as empty."""
        pieces: list[pa.Array | pa.Scalar] = []
        for literal, column in self.parts:
            if literal:
                pieces.append(pa.scalar(literal, pa.string()))
            if column is not None:
                values = rows.column(column)
                pieces.append(values if pa.types.is_string(values.type) else pc.cast(values, pa.string()))
        return pc.binary_join_element_wise(
            *pieces, pa.scalar("", pa.string()), null_handling="replace", null_replacement=""
        )

    def empty(self, rows: pa.RecordBatch) -> pa.Array:
        """A boolean array: whether a row has nothing to embed, that is, every named column is null or white space."""
        blank = pa.array([True] * rows.num_rows, pa.bool_())
        for column in self.columns:
            values = rows.column(column)
            if pa.types.is_string(values.type):
                this = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(values, "")), "")
            else:
                this = pc.is_null(values)
            blank = pc.and_(blank, this)
        return blank
