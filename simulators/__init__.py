"""Stand-ins for the networks: they speak their HTTP on localhost and truly run the commands."""
