"""The gateways of the network's providers: what runs in a container, its lines, its files."""
