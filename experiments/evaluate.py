"""`fcn-keras evaluate`, from a checkout: `python -m experiments.evaluate`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("evaluate")
