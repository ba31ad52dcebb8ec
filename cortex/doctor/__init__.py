"""What is wrong with an installation, and what to do: `cortex doctor`.

It looks from outside, with connections of its own, and changes nothing.
"""
