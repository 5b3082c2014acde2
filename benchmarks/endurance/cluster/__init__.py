"""Three servers of NATS and three instances under load, through one fault after the other."""
