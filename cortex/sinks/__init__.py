"""Plugins that come with Cortex: where events go when there is a section `[plugins.<name>]`."""
