"""What the DAGs of this folder share: the command, its steps as tasks, and what people are told."""
