"""`python -m owae`."""

from owae.cli import main

if __name__ == "__main__":
    main()
