"""The GraphQL API: another form of the same services, with the same rights as REST."""
