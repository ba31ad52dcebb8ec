"""What the GraphQL API shows: each type with the action that lets one see it."""
