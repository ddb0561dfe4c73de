"""The exception tree: exit codes, one line each, and every error survives the way between processes."""

from __future__ import annotations

import pickle
import re

import pytest

from embedshift import errors
from embedshift.errors import CheckFailed, EmbedshiftError, RefusedError, SettingsError, UnavailableError, UsageError


def tree(kind: type[EmbedshiftError] = EmbedshiftError) -> list[type[EmbedshiftError]]:
    """The public ones, whichever modules another test has imported before."""
    below = [each for each in kind.__subclasses__() if not each.__name__.startswith("_")]
    return [kind, *(error for each in below for error in tree(each))]


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_with_its_hint_and_its_code(kind):
    error = kind("the table articles is gone", hint="look at status")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.what, again.hint, str(again)) == (error.what, error.hint, str(error))
    assert again.exit_code == error.exit_code


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_has_every_error_with_its_code(kind):
    drawn = re.search(rf"\b{kind.__name__}\s+(\d)", errors.__doc__ or "")
    assert drawn, f"{kind.__name__} is not drawn"
    assert int(drawn[1]) == kind.exit_code


def test_the_exit_codes_are_those_that_are_promised():
    assert [kind.exit_code for kind in (CheckFailed, UsageError, UnavailableError, RefusedError)] == [1, 2, 3, 4]


def test_an_error_is_one_line_whatever_it_was_made_of():
    assert str(SettingsError("a\nb\n  c", hint="do\nthis")) == "a b c: do this"


def test_an_error_without_advice_ends_with_what_happened():
    assert str(CheckFailed("3 rows are missing")) == "3 rows are missing"
