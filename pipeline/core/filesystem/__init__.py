"""Files and folders: read within bounds, written whole, made and removed; and a disk that is full."""
