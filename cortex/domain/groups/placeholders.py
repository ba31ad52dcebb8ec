"""`{index}` and `{lr}` in the texts of a group's jobs.

Only a name in single braces is a placeholder. `{{name}}` gives the text `{name}`, `${name}` is left
to the shell, and every other brace stays as it is: commands are full of them.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

_BRACES: Final = re.compile(r"\{\{[A-Za-z_]\w*\}\}|(?<!\$)\{(?P<name>[A-Za-z_]\w*)\}")


def fill(value: Any, values: Mapping[str, str], left: Collection[str] = ()) -> Any:
    """The value with every placeholder in its texts, also in lists and mappings, replaced.

    Args:
        value: Texts, or lists and mappings of them.
        values: What stands for each placeholder.
        left: Names that are no placeholders here: `{name}` is that text.

    Raises:
        ValueError: a placeholder is not known.
    """
    if isinstance(value, str):
        return fill_text(value, values, left) if "{" in value else value
    if isinstance(value, Mapping):
        return {key: fill(part, values, left) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [fill(part, values, left) for part in value]
    return value


def fill_text(text: str, values: Mapping[str, str], left: Collection[str] = ()) -> str:
    """The text with its placeholders replaced; see `fill`."""

    def one(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0][1:-1]
        if name in left:
            return match[0]
        if name not in values:
            known = ", ".join(f"`{{{placeholder}}}`" for placeholder in values)
            raise ValueError(
                f"`{{{name}}}` is no placeholder here; known are {known}; "
                f"for the text itself write `{{{{{name}}}}}`"
            )
        return values[name]

    return _BRACES.sub(one, text)
