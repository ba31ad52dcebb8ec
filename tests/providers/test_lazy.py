"""A package offers what it names, and nothing else."""

import pytest

import providers.akash
from providers.akash.config import AkashConfig
from providers.akash.provider import AkashProvider
from providers.lazy import offer


def test_a_name_is_what_its_module_defines() -> None:
    assert providers.akash.AkashProvider is AkashProvider
    assert providers.akash.AkashConfig is AkashConfig


def test_another_name_is_none_of_the_package() -> None:
    with pytest.raises(AttributeError, match="module `here` has no attribute `Moon`"):
        offer("here", {})("Moon")
