"""The life of a deployment: found, reserved, leased, watched, looked after, closed."""
