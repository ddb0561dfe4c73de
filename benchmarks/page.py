"""The results as one HTML page that needs nothing else, with a chart for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.reporting.charts import BAD, INK, NEW, OLD, styled, to_svg
from embedshift.reporting.section import number


def html(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = [each for each in record["measures"] if each["results"]]
    # It contains only our own numbers and texts, so it is markup already.
    pictures = {each["name"]: Markup(_picture(each)) for each in made}
    absent = [each for each in record["measures"] if not each["results"]]
    return environment.get_template("results.html").render(
        record=record, made=made, absent=absent, pictures=pictures, goal=goal, spread=spread, rate=rate
    )


def rate(values: Sequence[float]) -> str:
    """The median of some rates."""
    return number(sorted(values)[len(values) // 2], 3)


def goal(result: Mapping[str, Any]) -> str:
    """The goal, and whether it was reached."""
    if result["goal"] is None:
        return "no goal"
    wanted = f"{'≤' if result['most'] else '≥'} {result['goal']:g} ×"
    return f"{wanted}: {'reached' if result['reached'] else 'missed'}"


def spread(result: Mapping[str, Any]) -> str:
    """The median ratio, and the minimum and maximum of the pairs."""
    return f"{result['ratio']:.2f} × ({result['least']:.2f} to {result['greatest']:.2f})"


def _picture(measure: Mapping[str, Any]) -> str:
    """One bar per result: the median ratio; a line for its spread; a mark at the goal."""
    from matplotlib.figure import Figure

    results = measure["results"]
    with styled():
        figure = Figure(figsize=(7.2, 0.7 + 0.42 * len(results)), layout="constrained")
        axes = figure.add_subplot()
        for at, each in enumerate(results):
            missed = each["reached"] is False
            axes.barh(at, each["ratio"], height=0.55, color=BAD if missed else NEW)
            axes.hlines(at, each["least"], each["greatest"], color=INK, linewidth=1)
            if each["goal"] is not None:
                axes.vlines(each["goal"], at - 0.4, at + 0.4, color=OLD, linewidth=2)
        axes.set_yticks(range(len(results)), [each["name"] for each in results])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("as a multiple of what it is compared with")
        words = "; ".join(f"{each['name']}: {spread(each)}, {goal(each)}" for each in results)
        return to_svg(figure, measure["name"], measure["title"], words)
