"""Tasks, client requests and conversations of a Sego PM server; docs/sego-api.md is the contract."""
