"""`GET /graphql`: a page to try operations with, from this server alone.

It knows nothing by itself: what it asks for it asks with the key that is typed into it.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

_PAGE: Final = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    digests = [hashlib.sha256(each.encode()).digest() for each in found]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


_POLICY: Final = (
    f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def graphql_page(_request: Request) -> HTMLResponse:
    """The page; its own script and style may run, and nothing else."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})
