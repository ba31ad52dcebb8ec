"""The description of a job that the network bids on, and the manifest that its provider gets."""
