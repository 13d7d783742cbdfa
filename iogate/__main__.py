"""Entry point of `python -m iogate`, for environments without the script on PATH."""

from iogate.cli.app import main

if __name__ == "__main__":
    main()
