"""`python -m runner` is the command `rivya-batch`."""

from runner.cli import main

if __name__ == "__main__":
    main()
