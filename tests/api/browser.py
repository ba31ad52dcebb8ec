"""A browser that shows our pages, for the tests: it keeps cookies, and fills in forms."""

import html
import re

import httpx

HTML = {"accept": "text/html,application/xhtml+xml"}


def hidden(answer: httpx.Response) -> dict[str, str]:
    """What the form of a page sends unseen."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text)
    return {name: html.unescape(value) for name, value in found}


async def sent(browser: httpx.AsyncClient, shown: httpx.Response, **fields: str) -> httpx.Response:
    """The answer to the form of a page, filled in."""
    action = re.search(r'<form method="post" action="([^"]+)"', shown.text)
    assert action is not None, shown.text
    target = shown.url.join(html.unescape(action[1]))
    headers = {**HTML, "origin": f"{target.scheme}://{target.netloc.decode()}"}
    return await browser.post(target, data={**hidden(shown), **fields}, headers=headers)
