"""`python -m cli` is `ecg-node`, for processes that start each other."""

from cli.main import run

if __name__ == "__main__":
    run()
