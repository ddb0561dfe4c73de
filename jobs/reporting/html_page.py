"""The report as one page of HTML that needs nothing else: no network, no script. Every text in it is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs import __version__
from jobs.reporting.figures import moment
from jobs.reporting.pictures import picture
from jobs.reporting.sections import sections
from jobs.reporting.verdict import verdict


def html_page(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("jobs.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = sections(record)
    # Drawn from numbers and words of ours only, so it is markup as it stands.
    drawn = {each.id: Markup(picture(each.picture, record)) for each in made if each.picture}
    return environment.get_template("report.html").render(
        title=str(record.get("migration") or "validation"),
        verdict=verdict(record),
        passed=bool(record.get("passed")),
        when=moment(record.get("made_us") or record.get("started_us")),
        shown=[each for each in made if not each.absent],
        absent=[each for each in made if each.absent],
        pictures=drawn,
        version=__version__,
    )
