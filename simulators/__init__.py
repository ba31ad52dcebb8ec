"""Stand-ins for the networks: they speak their protocols on localhost and truly run the commands."""
