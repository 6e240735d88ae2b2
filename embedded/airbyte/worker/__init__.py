"""What runs in a job's own process: one attempt of a sync, or one discovery."""
