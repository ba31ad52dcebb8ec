"""The few pages of our own, for logging in with a browser: no script, nothing from elsewhere."""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import Scope

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}"
    "code{font-size:1.4em;letter-spacing:.1em}label,button,a.button{display:block;margin:.6rem 0}"
    "input{width:100%;box-sizing:border-box;padding:.5rem;font:inherit}"
    "button,a.button{padding:.6rem;font:inherit;border:1px solid;border-radius:.3rem;"
    "background:none;color:inherit;text-decoration:none;text-align:center;width:100%;"
    "box-sizing:border-box;cursor:pointer}p.warning{border-left:.3rem solid;padding-left:.8rem}"
)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_hash(_STYLE)}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "cache-control": "no-store",
    # The next request is to say that it comes from here; others hear nothing.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
_PATHS: Final = ("/api/v1/auth/device", "/api/v1/auth/oidc/")


def page(title: str, *parts: str, status: int = 200, script: str = "") -> HTMLResponse:
    """A page of parts, which are HTML already (`escaped`, `form`).

    Args:
        title: Its heading.
        parts: What follows.
        status: Of the answer.
        script: Ours, the only one that the page runs.
    """
    heading = escaped(title)
    body = "".join(parts) + (f"<script>{script}</script>" if script else "")
    policy = f"{_POLICY}; script-src 'sha256-{_hash(script)}'" if script else _POLICY
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head><body><h1>{heading}</h1>{body}</body></html>",
        status_code=status,
        headers={"content-security-policy": policy, **_HEADERS},
    )


def escaped(text: str) -> str:
    """What somebody wrote, as HTML."""
    return html.escape(text)


def paragraph(text: str, *, warning: bool = False) -> str:
    """Plain words, as a paragraph."""
    kind = ' class="warning"' if warning else ""
    return f"<p{kind}>{escaped(text)}</p>"


def form(
    action: str,
    hidden: Mapping[str, str],
    fields: Iterable[str],
    buttons: Iterable[tuple[str, str]],
    *,
    method: str = "post",
) -> str:
    """A form.

    Args:
        action: Where it is sent.
        hidden: What it sends unseen.
        fields: HTML of what is typed (`field`).
        buttons: Value of `decision`, and words, of each.
        method: `post` or `get`.
    """
    unseen = "".join(
        f'<input type="hidden" name="{escaped(name)}" value="{escaped(value)}">'
        for name, value in hidden.items()
    )
    pressed = "".join(
        f'<button name="decision" value="{escaped(value)}">{escaped(words)}</button>'
        for value, words in buttons
    )
    return (
        f'<form method="{method}" action="{escaped(action)}">{unseen}{"".join(fields)}{pressed}'
        "</form>"
    )


def field(name: str, words: str, *, kind: str = "text", fill: str = "off") -> str:
    """Something to type."""
    return (
        f'<label>{escaped(words)}<input name="{escaped(name)}" type="{kind}" '
        f'autocomplete="{fill}" autocapitalize="none" spellcheck="false"></label>'
    )


def link(address: str, words: str) -> str:
    """A link that looks like a button."""
    return f'<a class="button" href="{escaped(address)}">{escaped(words)}</a>'


def wants_page(scope: Scope) -> bool:
    """Whether a browser shows the answer to a person."""
    if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def problem_page(title: str, detail: str, status: int, headers: Mapping[str, str]) -> HTMLResponse:
    """A problem, for a person with a browser."""
    answer = page(title, paragraph(detail), status=status)
    answer.headers.update(headers)
    return answer
