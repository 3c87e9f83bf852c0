"""`fcn-keras export`, from a checkout: `python -m experiments.export`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("export")
