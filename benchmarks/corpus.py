"""Documents of mixed lengths."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tests.small_models import POISON, words

CRANFIELD = Path(__file__).resolve().parents[2] / "shared" / "data" / "cranfield"


def cranfield(count: int) -> list[dict[str, str]]:
    """The first abstracts of the Cranfield collection; none if it is not beside the project."""
    file = CRANFIELD / "articles.jsonl"
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def log_normal(count: int) -> list[dict[str, str]]:
    """Articles of random words; their lengths are log-normal: half have fewer than 60 words, few have hundreds."""
    chance, known = random.Random(1), _vocabulary()
    made = []
    for number in range(count):
        length = min(2000, max(1, round(chance.lognormvariate(4.1, 0.8))))
        content = " ".join(chance.choices(known, k=length))
        made.append({"id": f"a{number:07}", "title": " ".join(chance.choices(known, k=5)), "content": content})
    return made


def texts(articles: list[dict[str, str]]) -> list[str]:
    """The text that is embedded, for each article."""
    return [f"{each['title']}. {each['content']}" for each in articles]


def short(rows: int, batch: int, *, topics: int = 0) -> Iterator[dict[str, list[str]]]:
    """Articles of 9 to 34 random words, as columns, a batch at a time.

    Args:
        topics: how many vocabularies there are, one of which each article uses; 0: all articles use all words.
    """
    chance, known = random.Random(1), _vocabulary()
    vocabularies = [chance.sample(known, 30) for _ in range(topics)] or [known]
    for at in range(0, rows, batch):
        count = range(at, min(at + batch, rows))
        about = chance.choices(vocabularies, k=len(count))
        yield {
            "id": [f"a{number:08}" for number in count],
            "title": [" ".join(chance.choices(each, k=4)) for each in about],
            "content": [" ".join(chance.choices(each, k=chance.randint(5, 30))) for each in about],
        }


def _vocabulary() -> list[str]:
    return [word for word in words() if word.isalpha() and word != POISON]
