"""`python -m milepost` is the command `milepost`."""

import gc


def main() -> None:
    """Run the command."""
    # What is imported stays: to look for garbage in it again and again would take a tenth of the start.
    gc.disable()
    from milepost.cli import main as command  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    command()


if __name__ == "__main__":
    main()
