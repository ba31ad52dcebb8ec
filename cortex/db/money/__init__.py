"""Money in the database: the ledger, budgets, reserves, and sums of them."""
