"""`fcn-keras predict`, from a checkout: `python -m experiments.predict`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("predict")
