"""`python -m iogate`, for where the script is not on PATH."""

from iogate.cli.app import main

if __name__ == "__main__":
    main()
