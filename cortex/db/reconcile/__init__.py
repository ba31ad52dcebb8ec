"""What reconcile reads of the database, and the book of its findings."""
