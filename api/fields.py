"""Lists with some of the fields of their entries only: `fields=id,name,state`."""

import copy
from typing import Any, Final

from fastapi import Query
from pydantic import BaseModel

from api.params import Form

FIELDS: Final = "fields"


SOME: Final = Query(description="Only these fields of each entry, with commas between them.")


def fields_of(entry: type[BaseModel]) -> Form:
    """The form of the parameter `fields` of a list of these, before `SOME`."""
    names = tuple(entry.model_fields)
    one = f"({'|'.join(names)})"
    known = ", ".join(names)
    return Form(f"^{one}(,{one})*$", f"must be names with commas between them, of {known}")


def chosen(text: str | None) -> frozenset[str] | None:
    """The names in the parameter; None: all."""
    return None if text is None else frozenset(text.split(","))


def allow_fewer(schema: dict[str, Any]) -> None:
    """Say in the document that entries of such lists may have some of their fields only."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            names = {parameter["name"] for parameter in operation.get("parameters", ())}
            if FIELDS in names:
                content = operation["responses"]["200"]["content"]["application/json"]
                whole = content["schema"]
                parts = schema["components"]["schemas"]
                content["schema"] = {"anyOf": [whole, _fewer(whole["$ref"], parts)]}


def _fewer(page: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The schema of a page whose entries need not have all fields."""
    name = page.rpartition("/")[2]
    fewer = copy.deepcopy(parts[name])
    entry = fewer["properties"]["items"]["items"]["$ref"].rpartition("/")[2]
    parts[f"Some{entry}"] = {
        key: value for key, value in parts[entry].items() if key not in ("required", "title")
    }
    fewer["properties"]["items"]["items"] = {"$ref": f"#/components/schemas/Some{entry}"}
    parts[f"Some{name}"] = fewer
    return {"$ref": f"#/components/schemas/Some{name}"}
