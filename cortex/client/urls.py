"""URLs of servers as they may be shown."""

from urllib.parse import urlsplit

import httpx


def shown_url(url: str) -> str:
    """The URL without a name or password in it, which earlier versions kept in profiles."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    _, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"…@{host}").geturl() if at else url


def asked_url(response: httpx.Response) -> str:
    """The URL that a response is from, the same way."""
    return shown_url(str(response.request.url))
