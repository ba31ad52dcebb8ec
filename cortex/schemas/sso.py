"""What the routes about logging in by another service answer."""

from pydantic import Field

from cortex.schemas._view import View


class SsoProviderView(View):
    """A service by which people log in."""

    name: str
    title: str = Field(description="What people know it by.")


class SsoProviderPage(View):
    """The services by which people log in."""

    items: tuple[SsoProviderView, ...]
