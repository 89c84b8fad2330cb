"""`python -m docruns` is the command `docruns`."""

from .commands.cli.main import run

if __name__ == "__main__":
    run()
