"""`fcn-keras summarize`, from a checkout: `python -m experiments.summarize`."""

from fcn_keras_cli import main

if __name__ == "__main__":
    main("summarize")
