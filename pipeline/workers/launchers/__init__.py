"""Ways to start a worker: as a process of this machine, or as a task of Ray."""
