"""The steps of a job: offers, a lease, the look near its deadline, and its settlement."""
