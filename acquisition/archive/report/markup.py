"""Elements of a page: built as a tree, so that whatever a device or a person wrote is escaped when it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

Child: TypeAlias = "Element | str | None"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def tag(name: str, /, *children: Child, **attributes: object) -> Element:
    """An element; `class_` is `class`, `aria_label` is `aria-label`, and an attribute of None is left out.

    Args:
        name: Of the element.
        children: Elements and text, in order; None is nothing.
        attributes: Its attributes.
    """
    named = {
        key.rstrip("_").replace("_", "-"): _plain(str(each)) for key, each in attributes.items() if each is not None
    }
    element = Element(name, named)
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif child and len(element):
            element[-1].tail = (element[-1].tail or "") + _plain(child)
        elif child:
            element.text = (element.text or "") + _plain(child)
    return element


def _plain(text: str) -> str:
    """The text without control characters, which no page may have."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def table(
    heading: Sequence[str], rows: Iterable[Sequence[object]], caption: str, numbers: Sequence[int] = ()
) -> Element:
    """A table with a caption and a heading; the first cell of a row is its heading.

    Args:
        heading: Of the columns.
        rows: Cells as text; None is an empty cell.
        caption: What the table shows.
        numbers: Columns that are set flush right.
    """

    def cell(name: str, at: int, content: object, **more: object) -> Element:
        child = content if isinstance(content, Element) else "" if content is None else str(content)
        return tag(name, child, class_="number" if at in numbers else None, **more)

    head = tag("tr", *(cell("th", at, each, scope="col") for at, each in enumerate(heading)))
    body = tag("tbody")
    for row in rows:
        cells = (cell("td", at, each) if at else cell("th", at, each, scope="row") for at, each in enumerate(row))
        body.append(tag("tr", *cells))
    whole = tag("table", tag("caption", caption), tag("thead", head), body)
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def folded(summary: str, *children: Child) -> Element:
    """What is opened by who wants it, such as the numbers behind a picture."""
    return tag("details", tag("summary", summary), *children)


def svg(width: float, height: float, label: str, *children: Child, class_: str = "") -> Element:
    """A picture that fills its box, however wide that is; lines keep their width and nothing in it is text.

    Args:
        width: Of its own coordinates.
        height: Likewise.
        label: What it shows, for who cannot see it.
        children: Shapes.
        class_: Classes.
    """
    box = tag("svg", viewBox=f"0 0 {width:g} {height:g}", preserveAspectRatio="none", role="img", class_=class_ or None)
    box.append(tag("title", label))
    box.extend(child for child in children if isinstance(child, Element))
    return box


def written(document: Element) -> str:
    """The text of a whole page."""
    return "<!DOCTYPE html>\n" + tostring(document, encoding="unicode", method="html") + "\n"
