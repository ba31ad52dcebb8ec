"""Each route: how its request is built and its answer read. No I/O."""
