"""What is written with a change and told afterwards: commands, events, answers, the audit log."""
