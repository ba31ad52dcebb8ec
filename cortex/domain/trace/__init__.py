"""The trace of a job or group: every step of the protocol, made from facts. Pure."""
