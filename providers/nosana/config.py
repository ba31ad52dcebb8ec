"""The configuration of a Nosana account."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from cortex.domain.units import parse_bytes, parse_duration
from providers.base import ProviderConfig

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]
MarketType = Literal["PREMIUM", "COMMUNITY", "OTHER"]


class NosanaConfig(ProviderConfig):
    api_key: SecretStr = Field(description="An API key of the Nosana dashboard (`nos_…`).")
    url: str = Field(default="https://dashboard.k8s.prd.nos.ci", description="The deployment API.")
    markets: tuple[str, ...] = Field(
        default=(), description="Addresses or slugs of the markets to use; empty: all of the types."
    )
    market_types: tuple[MarketType, ...] = ("PREMIUM", "COMMUNITY")
    fee_included: bool = Field(
        default=False,
        description="Whether the markets' hourly prices hold the network fee already.",
    )
    confidential: bool = Field(
        default=True,
        description="Keep the address of a job's definition off the chain. The definition itself "
        "is pinned to IPFS all the same. Jobs with secrets or `inputs` need it.",
    )
    bound_logs: bool = Field(
        default=True,
        description="Put the runner around every `command`, so that no log is too long for a "
        "result (1 MiB), which would be lost with it. Needs `/bin/sh` in the image.",
    )
    name_prefix: str = Field(
        default="cortex",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="Of the names of deployments; another one for each Cortex that shares them.",
    )
    time_margin: Duration = Field(
        default=timedelta(minutes=10),
        description="Added to a job's duration for the network's own limit.",
    )
    poll_interval: Duration = Field(
        default=timedelta(seconds=15), description="Between two looks at running jobs."
    )
    patience: Duration = Field(
        default=timedelta(seconds=60), description="How long a stop may take to be confirmed."
    )
    max_output_bytes: Bytes = Field(default=2**30, description="Most that is copied of one job.")

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("must begin with https:// (the API key goes there)")
        return value.rstrip("/")
