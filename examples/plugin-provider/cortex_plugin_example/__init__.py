"""A network for Cortex from a package of its own, and a plugin that keeps a journal."""
