"""`fcn-keras data`, from a checkout: `python -m experiments.data`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("data")
