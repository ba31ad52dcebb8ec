"""What all simulators share: faults, runs, clock, control routes, serving."""
