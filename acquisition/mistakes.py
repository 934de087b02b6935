"""What is wrong with configured values, as sentences that name the nearest right word."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

SECRET_KEYS = frozenset({"token", "password", "passwd", "secret", "api_key", "apikey"})


class Mistake(NamedTuple):
    """One thing wrong: where, counted from the table that was validated, and what."""

    place: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        key = ".".join(map(str, self.place))
        return f"{key}: {self.text}" if key else self.text


def nearest(word: str, known: Collection[str]) -> str:
    """The tail of a sentence about an unknown word: the nearest known one, and all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    have = f"(have: {', '.join(sorted(known)) or 'none'})"
    return f"; did you mean {close[0]!r}? {have}" if close else f" {have}"


def mistakes_in(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Everything pydantic found, in the operator's words.

    Args:
        error: From validating a table against `model`.
        model: To name the keys it would have taken.
    """
    return [_mistake(details, model) for details in error.errors(include_url=False)]


def bare_secrets(table: Mapping[str, Any], place: tuple[str | int, ...] = ()) -> Iterator[Mistake]:
    """Keys that hold a secret itself, anywhere in a table; the secret is not repeated."""
    for key, value in table.items():
        here = (*place, key)
        if key.lower() in SECRET_KEYS and not isinstance(value, dict | list):
            ways = ", ".join(f"{key}_{way}" for way in ("credential", "env", "file"))
            yield Mistake(here, f"a secret does not belong in this file; use one of: {ways}")
        elif isinstance(value, dict):
            yield from bare_secrets(value, here)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from bare_secrets(item, (*here, index))


def _mistake(details: ErrorDetails, model: type[BaseModel]) -> Mistake:
    place, known, tags = _walk(details["loc"], model)
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return Mistake(place, f"unknown key{nearest(str(place[-1]), known)}")
    if kind == "missing":
        return Mistake(place, "this key is missing")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Mistake(place, "this must be a table")
    if kind == "tuple_type":
        return Mistake(place, f"this must be an array (one [[{place[-1]}]] for each)")
    if kind == "string_pattern_mismatch":
        return Mistake(place, f"{details['input']!r} does not have the form {context['pattern']}")
    if kind == "union_tag_not_found":
        return Mistake((*place, _bare(context)), f"this key is missing (one of: {', '.join(tags)})")
    if kind == "union_tag_invalid":
        return Mistake((*place, _bare(context)), f"unknown type {context['tag']!r}{nearest(context['tag'], tags)}")
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        return Mistake(place, f"{details['input']!r} is not known{nearest(str(details['input']), words)}")
    text = details["msg"].removeprefix("Value error, ")
    text = text if text.startswith("I/O") else text[:1].lower() + text[1:]
    scalar = isinstance(details["input"], str | int | float | bool) and kind != "value_error"
    return Mistake(place, f"{text}, not {details['input']!r}" if scalar else text)


def _bare(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")


def _walk(
    location: tuple[str | int, ...], model: type[BaseModel]
) -> tuple[tuple[str | int, ...], Collection[str], Collection[str]]:
    """Follows a pydantic location through the models.

    Returns:
        The location without the tags that pydantic puts in for unions, the keys of the innermost table, and the tags
        that the last place can have.
    """
    place: list[str | int] = []
    models = [model]
    tables = [model]
    for step in location:
        tags = _tags(models)
        if step in tags:
            models = [tags[str(step)]]
            continue
        place.append(step)
        if isinstance(step, str):
            tables = models
            fields = [field for each in models for name, field in _keys(each).items() if name == step]
            models = [found for field in fields for found in _models_in(field.annotation)]
    return tuple(place), {name for table in tables for name in _keys(table)}, _tags(models)


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a table by the name that the file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _tags(models: list[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """The members of a discriminated union by tag; empty if there is but one model."""
    if len(models) < 2:
        return {}
    fields = ((tag, model) for model in models for tag in _literals(model))
    return dict(fields)


def _literals(model: type[BaseModel]) -> Iterator[str]:
    for name in ("type", "kind"):
        if name in model.model_fields:
            yield from (str(value) for value in get_args(model.model_fields[name].annotation))
