"""What each study runs, most wanted first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """A split to score a run's best model on, with further options of `experiments.evaluate`."""

    split: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The split and the options, in one word."""
        words = (word.removeprefix("--").replace(".", "") for word in self.options)
        return "-".join((self.split, *words))


@dataclass(frozen=True)
class Run:
    """A training run and what it is scored on."""

    name: str
    recipe: str
    evaluations: tuple[Evaluation, ...]
    options: tuple[str, ...] = ()
    start: str | None = None
    """Run whose best model this one starts from, instead of the ImageNet weights."""
    pretrained: bool = True
    """Whether to start from the ImageNet weights."""
    keep: bool = False
    """Whether to score and collect the best model as a compact file too."""


VAL = Evaluation("val")
TEST = Evaluation("test")
FLIP = Evaluation("val", ("--flip",))
SCALES = Evaluation("val", ("--flip", "--scales", "0.75", "1.0", "1.25"))


ADAMW = ("--optimizer", "adamw", "--learning-rate", "5e-4", "--weight-decay", "0.01")
SGD = ("--optimizer", "sgd", "--learning-rate", "0.01", "--weight-decay", "5e-4")


def variations(
    recipe: str, common: tuple[str, ...], more: dict[str, tuple[str, ...]]
) -> tuple[Run, ...]:
    """Short trainings: the recipe with `common`, and beside it with one change at a time."""
    changes = {
        "base": (),
        "skips-scaled": ("--at-once",),
        "no-imagenet": ("--freeze-until", "None", "--backbone-rate", "1"),
        "trunk-frozen": ("--freeze-until", "block5"),
        "learned-upsampling": ("--upsampling", "learned"),
        "batch-norm": ("--batch-norm",),
        "light-dropout": ("--dropout", "0.1"),
        **more,
    }
    return tuple(
        Run(
            f"short-{name}",
            recipe,
            (VAL,),
            (*common, *change),
            pretrained=name != "no-imagenet",
        )
        for name, change in changes.items()
    )


SHORT_CPU = ("--epochs", "2", "--val-epochs", "2", "--crop-size", "160")
SHORT_GPU = ("--epochs", "20", "--val-epochs", "5")
STAGED = ("--epochs", "30", "--learning-rate", "1e-4", "--warmup-steps", "0")

PLANS: dict[str, tuple[Run, ...]] = {
    # Two cores, hours.
    "cpu": (
        Run("camvid", "camvid_fcn8s_cpu", (VAL, FLIP, SCALES, TEST), keep=True),
        Run("voc", "voc2012_fcn8s_cpu", (VAL,)),
        *variations("camvid_fcn8s_cpu", SHORT_CPU, {"sgd": SGD}),
    ),
    # Meant for one H100, half an hour for the first five. Not run yet.
    "gpu": (
        Run("camvid", "camvid_fcn8s", (VAL, FLIP, SCALES, TEST), keep=True),
        Run("voc-32s", "voc2012_fcn32s", (VAL,)),
        Run("voc-16s", "voc2012_fcn16s", (VAL,), start="voc-32s"),
        Run("voc-8s", "voc2012_fcn8s", (VAL, FLIP, SCALES), STAGED, start="voc-16s", keep=True),
        Run("voc-at-once", "voc2012_fcn8s", (VAL, FLIP, SCALES), keep=True),
        *variations(
            "voc2012_fcn8s",
            SHORT_GPU,
            {
                "adamw": ADAMW,
                "train": ("--train-split", "train"),
                "float32": ("--precision", "float32"),
            },
        ),
    ),
    # Minutes on a CPU, on the built-in data set: to see that a study works.
    "shapes": (
        Run("shapes-32s", "shapes", (VAL,), ("--model", "fcn32s"), pretrained=False),
        Run("shapes-8s", "shapes", (VAL, FLIP), start="shapes-32s", keep=True),
    ),
}
