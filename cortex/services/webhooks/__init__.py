"""What Cortex does with webhooks when somebody asks."""
