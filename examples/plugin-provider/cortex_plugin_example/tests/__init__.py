"""Tests that come with the package: `pytest --pyargs cortex_plugin_example`."""
