"""A GitHub of our own for tests: stateful, on real git, held to GitHub's own OpenAPI and GraphQL schema."""
