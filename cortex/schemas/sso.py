"""What the routes about logging in by another service, or by a browser, take and answer."""

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.device import DEVICE_CODE
from cortex.schemas._view import View
from cortex.schemas.accounts import KeyPurpose


class SsoProviderView(View):
    """A service by which people log in."""

    name: str
    title: str = Field(description="What people know it by.")


class SsoProviderPage(View):
    """The services by which people log in."""

    items: tuple[SsoProviderView, ...]


class DeviceLoginRequest(BaseModel):
    """A program that is to be logged in by a browser."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: KeyPurpose = Field(
        default="", description="What it is, in words that its user knows it by."
    )


class DeviceLoginStarted(View):
    """What a program shows to its user, and what it asks with meanwhile (RFC 8628)."""

    device_code: str = Field(repr=False, description="For `POST /auth/device/token`.")
    user_code: str = Field(description="For the user to compare, and to type in a browser.")
    verification_uri: str
    verification_uri_complete: str = Field(description="The same, with the code in it.")
    expires_in: float = Field(description="Seconds.")
    interval: float = Field(description="Seconds to wait between two questions.")


class DeviceTokenRequest(BaseModel):
    """The code that the program was given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device_code: str = Field(pattern=DEVICE_CODE, repr=False)
