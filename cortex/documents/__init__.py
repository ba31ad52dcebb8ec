"""What users write, in YAML or JSON, as it was written: the one reader of the CLI and the API.

`read` and `read_json` give documents; `Document.build` makes of one what a model validates. YAML
is that of the 1.2 core schema: `NO` and `12:30` are texts, and where a model takes text, every
scalar is the text that stands there (`3.10`, `0644`, `True`).
"""

from cortex.documents.errors import AmbiguousValue, DocumentError, Malformed
from cortex.documents.places import Position, locate, nearest
from cortex.documents.reading import Built, Document, read, read_json, read_value
from cortex.documents.shapes import Shape, schema_shape, shape_of
from cortex.documents.sizes import size_notes
from cortex.documents.snippets import snippet, told

__all__ = [
    "AmbiguousValue",
    "Built",
    "Document",
    "DocumentError",
    "Malformed",
    "Position",
    "Shape",
    "locate",
    "nearest",
    "read",
    "read_json",
    "read_value",
    "schema_shape",
    "shape_of",
    "size_notes",
    "snippet",
    "told",
]
