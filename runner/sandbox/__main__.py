"""`python -m runner.sandbox`."""

from runner.sandbox.main import main

if __name__ == "__main__":
    raise SystemExit(main())
