"""The steps that workflows are made of. Each is safe to run twice, and to be killed anywhere."""
