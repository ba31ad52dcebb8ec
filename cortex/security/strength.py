"""How hard a password is to guess. Loaded with the first one: its word lists are long."""

from collections.abc import Sequence
from typing import Final

from zxcvbn import zxcvbn

_LOOKED_AT: Final = 72
"""Characters that zxcvbn looks at; it takes long for more, and nobody guesses so many."""


def strength(password: str, known: Sequence[str]) -> tuple[int, str]:
    """Its score, 0 (guessed at once) to 4, and why it is not more, as one sentence or several.

    `known`: words that a guesser would try first, such as the name of the user.
    """
    rated = zxcvbn(password[:_LOOKED_AT], user_inputs=list(known))
    feedback = rated["feedback"]
    words = [str(feedback["warning"] or ""), *(str(each) for each in feedback["suggestions"])]
    sentences = [word.rstrip(".") for word in words if word]
    return int(rated["score"]), "; ".join(
        sentence[:1].lower() + sentence[1:] for sentence in sentences
    )
