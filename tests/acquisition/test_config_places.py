import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.config_places import Place, Places

DOCUMENT = '''\
# a comment with [brackets] and key = 1
[site]
bed = "icu" # trailing

[[device]]
id = "a"
[device.options]
names = [
  "one",   # ] not the end
  "two = 2",
]
text = """
[not.a.table]
fake = 1
\\"""
"""
after = 1

[[device]]
"id" = 'b # not a comment'
options = { unit = 3, deep = { er = 1 } }

[[device.register]]
at = 1
[[device.register]]
at = 2
[ log . extra ]
a.b."c d" = 1
raw = \'\'\'
[[device]]
\'\'\'
last = 1
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("site",), 2),
        (("site", "bed"), 3),
        (("device", 0), 5),
        (("device", 0, "id"), 6),
        (("device", 0, "options"), 7),
        (("device", 0, "options", "names"), 8),
        (("device", 0, "options", "text"), 12),
        (("device", 0, "options", "after"), 17),
        (("device", 1), 19),
        (("device", 1, "id"), 20),
        (("device", 1, "options"), 21),
        (("device", 1, "register", 0, "at"), 24),
        (("device", 1, "register", 1), 25),
        (("device", 1, "register", 1, "at"), 26),
        (("log",), 27),
        (("log", "extra"), 27),
        (("log", "extra", "a"), 28),
        (("log", "extra", "a", "b", "c d"), 28),
        (("log", "extra", "raw"), 29),
        (("log", "extra", "last"), 32),
    ],
)
def test_every_table_and_key_is_found_on_its_own_line(place: Place, line: int) -> None:
    tomllib.loads(DOCUMENT)
    assert place in Places(DOCUMENT)
    assert Places(DOCUMENT).line(place) == line


def test_what_is_not_there_is_placed_at_the_table_that_should_have_it() -> None:
    places = Places(DOCUMENT)
    assert places.line(("device", 1, "link")) == 19
    assert places.line(("device", 1, "options", "unit")) == 21
    assert places.line(("journal", "directory")) == 1
    assert ("device", 1, "link") not in places


def test_text_inside_strings_opens_no_table() -> None:
    places = Places(DOCUMENT)
    assert ("not",) not in places
    assert ("device", 2) not in places


def test_windows_line_ends_count_once() -> None:
    assert Places("[a]\r\nb = 1\r\nc = 2\r\n").line(("a", "c")) == 3


_keys = st.sampled_from(["a", "b-1", '"x.y"', "'q r'"])
_values = st.sampled_from(
    ['"s"', "'[t]'", '"""m\n[n]\n"q" """', "[1,\n 2, # ]\n]", "{ k = 1 }", "1979-05-27", '"\\""', "''"]
)
_tables = st.lists(
    st.tuples(st.sampled_from(["[[t]]", "[[ u . v ]]"]), st.dictionaries(_keys, _values, max_size=4)), max_size=6
)


@given(_tables)
def test_every_key_that_tomllib_finds_is_found(tables: list[tuple[str, dict[str, str]]]) -> None:
    text = "".join(
        f"{header}\n" + "".join(f"{key} = {value}\n" for key, value in body.items()) for header, body in tables
    )
    places = Places(text)
    lines = text.split("\n")

    def visit(value: Any, place: Place) -> None:
        if isinstance(value, dict) and place[-1:] != ("k",):
            for key, inner in value.items():
                if key != "k":
                    visit(inner, (*place, key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, inner in enumerate(value):
                visit(inner, (*place, index))
        elif place:
            assert place in places
            assert str(place[-1]) in lines[places.line(place) - 1].partition("=")[0]

    visit(tomllib.loads(text), ())
