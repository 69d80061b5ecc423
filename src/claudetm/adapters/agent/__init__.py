"""The agent: claude-agent-sdk and the CLI inside it, contained and gated."""
