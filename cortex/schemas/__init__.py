"""What the REST API takes and answers: shared by the server (`api`) and the client."""
