"""``python -m pipeline`` is ``dnntune``."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
