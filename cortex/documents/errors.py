"""Why a document is not taken."""


class Malformed(Exception):
    """It is no YAML or JSON at all.

    Attributes:
        message: What is wrong. It may quote the document: see `snippets.hidden`.
        line: Where, from 1; 0 if that is not known.
        column: Where, from 1; 0 if that is not known.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class DocumentError(Exception):
    """Something in it cannot be taken, whatever it is meant for.

    Attributes:
        message: What is wrong with the part at `path`.
        path: Dotted, such as `jobs[3].env.A`; empty: the whole document.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""

    def inside(self, part: str | int) -> None:
        """Say that the path so far is that of a part of something larger."""
        step = f"[{part}]" if isinstance(part, int) else part
        dot = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{dot}{self.path}"


class AmbiguousValue(DocumentError):
    """A scalar that two people would read as two values; the message has both."""
