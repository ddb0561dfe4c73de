"""HTML and Markdown from a record: every part, the lack of each, and texts that would like to be more than texts."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser

import pytest

from embedshift.reporting.files import rendered
from embedshift.reporting.page import html_page, markdown_page, plain, sections
from tests.report.records import HOSTILE, bare_record, failed_record, full_record, without_labels

#: Key of a record → the section that it fills.
PARTS = {
    "checks": "checks",
    "examples": "faults",
    "relevance": "relevance",
    "recall@10": "recall",
    "latency": "latency",
    "shadow": "shadow",
    "lengths": "lengths",
    "projection": "projection",
    "throughput": "throughput",
    "space": "space",
    "settings": "settings",
}
DRAWN = {"relevance", "recall", "latency", "shadow", "lengths", "projection", "throughput"}


class Page(HTMLParser):
    """The elements of a page, and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


@cache
def full_page() -> str:
    return html_page(full_record())


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(full_page())


def test_a_full_record_leaves_no_part_out(full):
    assert {"absent", "unlabelled"} & {*full.ids()} == {"absent"}
    assert {*PARTS.values()} | {"lost", "models", "timings"} <= {*full.ids()}
    assert full.count("svg") == len(DRAWN)


def test_each_picture_has_a_title_and_a_text_and_no_id_twice(full):
    ids = full.ids()
    assert len(ids) == len({*ids})
    for tag, attributes in full.elements:
        if tag == "svg":
            assert attributes["role"] == "img"
            assert {*attributes["aria-labelledby"].split()} <= {*ids}
    page = full_page()
    named = re.findall(r"url\(#([^)]+)\)", page) + re.findall(r'href="#([^"]+)"', page)
    assert {*named} <= {*ids}


def test_pictures_take_their_colours_from_the_page():
    page = full_page()
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--ink)" in pictures
    assert "var(--old)" in pictures
    assert "var(--new)" in pictures
    assert not re.findall(r"#0000[ab]\d", pictures)


def test_the_page_needs_nothing_from_elsewhere(full):
    assert full.count("script") == 0
    for tag, attributes in full.elements:
        for name in ("src", "href", "xlink:href", "data"):
            if (place := attributes.get(name)) is not None:
                assert place.startswith("#") or place == "data:,", (tag, place)
    assert not re.search(r"url\((?!#)|@import", full_page())


@pytest.mark.parametrize("key", PARTS)
def test_a_part_that_is_missing_is_left_out_with_a_reason(key):
    record = full_record()
    for each in ("recall@1", "recall@10", "recall@100") if key == "recall@10" else [key]:
        del record[each]
    (section,) = [each for each in sections(record) if each.id == PARTS[key]]
    assert section.absent.endswith(".")
    assert section.absent in markdown_page(record).replace("\\", "")
    if PARTS[key] in DRAWN:
        page = Page(html_page(record))
        assert PARTS[key] not in page.ids()
        assert section.absent in page.text
        assert page.count("svg") == len(DRAWN) - 1


def test_the_record_of_an_older_version_still_makes_a_report():
    page = Page(html_page(bare_record()))
    assert page.count("svg") == 0
    assert "Not in this report" in page.text
    assert "6 of 6 checks passed" in page.text
    assert Page(html_page({"passed": False})).count("h1") == 1


def test_parts_measured_in_part_are_drawn_as_far_as_they_go():
    record = full_record()
    record["latency"] = {"old": {"1": record["latency"]["old"]["1"], "8": None}, "new": {}}
    record["intervals"] = {}
    record["relevance"]["per_question"] = None
    record["shadow"]["latency"] = {"old": None, "new": None}
    record["shadow"]["rbo"] = None
    record["space"] = {"old": None, "new": record["space"]["new"]}
    record["projection"]["explained"] = {}
    record["projection"]["new"] = [[x, y, 0] for x, y, _ in record["projection"]["new"]]
    assert Page(html_page(record)).count("svg") == len(DRAWN) - 2


def test_the_evidence_without_labels_is_shown_as_such():
    page = Page(html_page(without_labels()))
    assert "unlabelled" in page.ids()
    assert "relevance" not in page.ids()
    assert "This proves less" in page.text
    assert "finds itself first" in markdown_page(without_labels())


def test_a_failed_check_stands_out():
    page = html_page(failed_record("recall_at_10"))
    assert re.search(r'<tr role="row" class="bad">\s*<th role="rowheader" scope="row">recall_at_10</th>', page)
    assert page.count('class="bad"') == 2  # the verdict and the row
    assert "| **recall\\_at\\_10** | **FAILED** |" in markdown_page(failed_record("recall_at_10"))


def test_hostile_texts_are_shown_and_do_nothing():
    hostile = Page(html_page(hostile_record()))
    harmless = Page(full_page())
    assert HOSTILE in hostile.text
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    assert not [attributes for _, attributes in hostile.elements if any(name.startswith("on") for name in attributes)]


def hostile_record():
    record = full_record(HOSTILE, HOSTILE)
    record["migration"] = f"{HOSTILE}-to-{HOSTILE}"
    record["checks"][0]["note"] = HOSTILE
    record["settings"]["alias"] = HOSTILE
    record["tables"]["new"] |= {"table": HOSTILE, "model": HOSTILE}
    record["projection"]["old"] = [[x, y, HOSTILE] for x, y, _ in record["projection"]["old"]]
    return record


def test_hostile_texts_do_not_mark_markdown_up():
    markdown = markdown_page(hostile_record())
    shown = markdown.replace("</details>", "").replace("<details><summary>", "").replace("</summary>", "")
    assert not re.search(r"(?<!\\)<", shown)
    assert not re.search(r"(?<!\\)[`\[]", shown)
    assert not re.search(r"(?<!\w)@\w|https?://", shown)
    for line in shown.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in {3, 4, 5, 6, 7, 8}, line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n c", "a b c"),
        ("a|b", r"a\|b"),
        ("nDCG@10", "nDCG@10"),
        ("@you", "@\u200byou"),
        ("# no", r"\# no"),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_a_text_in_markdown_is_one_line_of_text(text, shown):
    assert plain(text) == shown


def test_rows_of_a_table_have_as_many_cells_as_it_has_headers():
    for record in (full_record(), without_labels(), bare_record()):
        for section in sections(record):
            for table in section.tables:
                assert {len(row) for row in table.rows} == {len(table.headers)}, section.id


def test_json_is_the_record_without_titles_of_articles():
    record = full_record()
    tree = json.loads(rendered(record, "json"))
    assert "titles" not in tree
    assert tree == {key: value for key, value in record.items() if key != "titles"}


def test_the_place_of_a_secret_is_not_in_the_report():
    for page in (full_page(), markdown_page(full_record())):
        assert "/secret/place" not in page
