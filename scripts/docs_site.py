"""Hooks for MkDocs, beyond mkdocs.yml: pages by folder in the navigation, links to the rest of the repository."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: Where the site keeps copies of the files outside docs/ to which its pages link.
_BESIDE = "repository/"
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace a name with a star in the navigation by the folder's pages, except pages that are named elsewhere."""
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md"))
    named = set(_named(config.nav))
    config.nav = _filled(config.nav, [page for page in pages if page not in named])
    return config


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav
    return [each for part in below for each in _named(part)]


def _filled(nav: Any, left: list[str]) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(part, left) for title, part in nav.items()}
    if isinstance(nav, list):
        return [each for part in nav for each in (_matching(part, left) if _is_star(part) else [_filled(part, left)])]
    return nav


def _is_star(part: Any) -> bool:
    return isinstance(part, str) and "*" in part


def _matching(star: str, left: list[str]) -> list[str]:
    depth = star.count("/")
    return [page for page in left if page.count("/") == depth and fnmatch.fnmatch(page, star)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Include the linked files outside docs/, so that no link of the site is broken."""
    pages = list(files.documentation_pages())
    for page in pages:
        for link in _LINK.findall(page.content_string):
            path = _site_path(page.src_uri, link)
            if path is not None and path.startswith(_BESIDE) and files.get_file_from_path(path) is None:
                original = str(ROOT / path.removeprefix(_BESIDE))
                copy = File.generated(config, path, abs_src_path=original, inclusion=InclusionLevel.NOT_IN_NAV)
                files.append(copy)
                pages += [copy] if copy.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links to files outside docs/ into links to their copies, and links of these copies back."""
    here = page.file.src_uri

    def led(link: re.Match[str]) -> str:
        path = _site_path(here, link[0])
        return link[0] if path is None else posixpath.relpath(path, posixpath.dirname(here) or ".")

    return _LINK.sub(led, markdown)


def _site_path(page: str, link: str) -> str | None:
    """The site's path of a file to which a page links; None if the repository has no such file."""
    source = page.removeprefix(_BESIDE) if page.startswith(_BESIDE) else f"docs/{page}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if not (ROOT / path).is_file():
        return None
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{_BESIDE}{path}"
