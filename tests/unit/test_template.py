"""The template of a text: what it may say, what it renders, and where there is nothing to embed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift.embedding import Template
from embedshift.errors import SettingsError

literals = st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=6)
texts = st.one_of(
    st.none(), st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(["", " ", "\t\n", "é"])
)


@given(st.tuples(literals, literals, literals), st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_a_text_is_the_template_with_its_columns_filled_in_and_null_as_nothing(pieces, values):
    before, between, after = pieces
    template = Template.parse(f"{before}{{title}}{between}{{content}}{after}")
    rows = pa.RecordBatch.from_pydict(
        {name: pa.array([row[at] for row in values], pa.string()) for at, name in enumerate(("title", "content"))}
    )
    expected = [f"{before}{title or ''}{between}{content or ''}{after}" for title, content in values]
    assert template.render(rows).to_pylist() == expected
    # A slice of a batch has its own place in the buffers.
    assert template.render(rows.slice(1)).to_pylist() == expected[1:]
    assert template.render(rows).type == pa.string()


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_a_row_is_empty_where_every_column_is_null_or_white_space(values):
    rows = pa.RecordBatch.from_pydict(
        {name: pa.array([row[at] for row in values], pa.string()) for at, name in enumerate(("title", "content"))}
    )
    found = Template.parse("{title}: {content}").empty(rows).to_pylist()
    assert found == [not (title or "").strip() and not (content or "").strip() for title, content in values]


def test_numbers_and_truth_values_are_written_as_text():
    rows = pa.RecordBatch.from_pydict(
        {"n": pa.array([7, None], pa.int32()), "b": pa.array([True, None]), "f": pa.array([0.5, None], pa.float64())}
    )
    template = Template.parse("{n} {b} {f}")
    assert template.render(rows).to_pylist() == ["7 true 0.5", "  "]
    assert template.empty(rows).to_pylist() == [False, True]


def test_double_braces_are_braces():
    template = Template.parse("{{{title}}}")
    assert template.render(pa.RecordBatch.from_pydict({"title": pa.array(["x"])})).to_pylist() == ["{x}"]
    assert template.columns == ("title",)


def test_a_column_named_twice_is_read_once():
    assert Template.parse("{a} {b} {a}").columns == ("a", "b")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", "names no column"),
        ("", "names no column"),
        ("{title", "cannot be read"),
        ("title}", "cannot be read"),
        ("{}", "write only a column's name"),
        ("{title.upper}", "write only a column's name"),
        ("{title[0]}", "write only a column's name"),
        ("{title!r}", "write only a column's name"),
        ("{title:>10}", "write only a column's name"),
        ("{0}", "write only a column's name"),
    ],
)
def test_a_template_that_says_more_than_names_is_refused(text, word):
    with pytest.raises(SettingsError, match=word):
        Template.parse(text)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(SettingsError, match=r"names titel, which articles does not have: did you mean title\?"):
        Template.parse("{titel}").check({"id": True, "title": True}, "articles")


def test_a_column_that_is_no_text_is_refused():
    with pytest.raises(SettingsError, match=r"articles\.picture, which contains no text"):
        Template.parse("{picture}").check({"picture": False}, "articles")
