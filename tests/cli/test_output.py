"""How wide a command speaks."""

import pytest

from rowhouse.cli.output import width_of


@pytest.mark.parametrize(
    ("terminal", "columns", "expected"),
    [
        (True, None, None),  # the terminal's own
        (True, "60", None),  # Rich reads it itself
        (False, None, 200),  # a file has no width, and folded tables are hard to search
        (False, "60", None),
        (False, "", 200),
        (False, "wide", 200),
    ],
)
def test_columns_are_honoured_where_there_is_no_terminal(terminal: bool, columns: str | None, expected: int | None):
    assert width_of(terminal=terminal, columns=columns) == expected
