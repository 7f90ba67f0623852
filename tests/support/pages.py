"""Reads pages of HTML as a browser would, for the tests of reports."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

_VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}
# Elements that the page shows apart from the text before them.
_APART = {"div", "p", "small", "span", "dt", "dd", "li", "th", "td", "h2", "h3", "title", "strong"}


@dataclass
class Element:
    """An element with its attributes, the text in it, and the names of the elements around it."""

    name: str
    attributes: dict[str, str]
    around: tuple[str, ...]
    text: str = ""
    children: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """The elements of a page, in order.

    Args:
        html: the page; its tags must be balanced
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, [element.name for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(x.name for x in self._open))
        self.elements.append(element)
        if self._open:
            self._open[-1].children.append(tag)
        if tag in _APART:
            self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert [x.name for x in self._open[-1:]] == [tag], self.getpos()
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, name: str, style: str = "") -> list[Element]:
        """Return the elements of a name, and of a class if one is given."""
        return [
            x for x in self.elements if x.name == name and (not style or style in x.attributes.get("class", "").split())
        ]

    def texts(self, name: str, style: str = "") -> list[str]:
        """Return the texts of the elements, with single spaces."""
        return [" ".join(x.text.split()) for x in self.all(name, style)]

    def rows(self, heading: str) -> list[list[str]]:
        """Return the cells of the first table below a heading of level 2, with the heads of its columns."""
        start = next(i for i, x in enumerate(self.elements) if x.name == "h2" and x.text.strip() == heading)
        rest = self.elements[start:]
        table = next(i for i, x in enumerate(rest) if x.name == "table")
        rows: list[list[str]] = []
        for x in rest[table + 1 :]:
            if x.name == "table":
                break
            if x.name == "tr":
                rows.append([])
            elif x.name in ("th", "td"):
                rows[-1].append(" ".join(x.text.split()))
        return rows


def check(html: str) -> Page:
    """Check what every page must have, and return it.

    Tags are balanced, ids are unique, links lead to elements of the page, pictures have a title, headings are in order,
    and nothing comes from elsewhere.
    """
    assert html.startswith("<!doctype html><html lang=")
    page = Page(html)
    ids = [x.attributes["id"] for x in page.elements if "id" in x.attributes]
    assert len(ids) == len(set(ids))
    assert all(x.attributes["href"].removeprefix("#") in ids for x in page.all("a"))
    assert not re.search(r"https?:|url\(|@import|src=|<script|<link|\son\w+=", html)
    for picture in page.all("svg"):
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or (picture.attributes["role"] == "img" and picture.children[0] == "title")
    assert all(x.text.strip() for x in page.all("title"))
    levels = [int(x.name[1]) for x in page.elements if re.fullmatch(r"h\d", x.name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert [x.attributes["content"] for x in page.all("meta") if x.attributes.get("name") == "viewport"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
    return page
