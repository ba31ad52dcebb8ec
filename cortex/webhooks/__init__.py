"""Events on their way to webhooks: who gets which, signed, sent, tried again, given up."""
