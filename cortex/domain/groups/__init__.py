"""Groups: their spec, their members and order, and the plan that brings them to an end. Pure."""
