"""`fcn-keras train`, from a checkout: `python -m experiments.train`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("train")
