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
VAL2008 = Evaluation("val2008")
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


def losses(recipe: str, common: tuple[str, ...]) -> tuple[Run, ...]:
    """Short trainings of the recipe with `common`, one for each way to weigh what is rare."""
    changes = {
        "mean": (),
        "balanced": ("--class-weights", "balanced"),
        **{name: ("--loss", name) for name in ("focal", "dice", "ce_dice", "lovasz")},
    }
    return tuple(
        Run(f"loss-{name.replace('_', '-')}", recipe, (VAL,), (*common, *change))
        for name, change in changes.items()
    )


def seeds(recipe: str, common: tuple[str, ...]) -> tuple[Run, ...]:
    """Short trainings of the recipe with `common`: three seeds in either precision."""
    return tuple(
        Run(
            f"seed-{seed}-{precision}",
            recipe,
            (VAL,),
            (*common, "--seed", str(seed), "--precision", precision),
        )
        for seed in range(3)
        for precision in ("float32", "bfloat16")
    )


def papers_order(recipe: str, common: tuple[str, ...]) -> tuple[Run, ...]:
    """FCN-32s, FCN-16s from it, FCN-8s from that, and FCN-8s at once: as many steps each."""
    scored = (VAL, VAL2008)
    stages = {"32s": None, "16s": "order-32s", "8s": "order-16s", "8s-at-once": None}
    return tuple(
        Run(
            f"order-{name}",
            recipe,
            scored,
            (*common, "--model", f"fcn{name.removesuffix('-at-once')}"),
            start=start,
        )
        for name, start in stages.items()
    )


SHORT_CPU = ("--epochs", "2", "--val-epochs", "2", "--crop-size", "160")
LOSS_CPU = (
    *("--epochs", "3", "--val-epochs", "3", "--crop-size", "160"),
    *("--max-val-images", "20"),  # each run is scored on all of val afterwards
)
ORDER_CPU = ("--max-steps", "250", "--precision", "float32", "--max-val-images", "20")
COARSE = ("--model", "fcn32s", "--epochs", "1")
SHORT_GPU = ("--epochs", "20", "--val-epochs", "5")
STAGED = ("--epochs", "30", "--learning-rate", "1e-4", "--warmup-steps", "0")

PLANS: dict[str, tuple[Run, ...]] = {
    # Two cores, hours.
    "cpu": (
        Run("camvid", "camvid_fcn8s_cpu", (VAL, FLIP, SCALES, TEST), keep=True),
        Run("voc", "voc2012_fcn8s_cpu", (VAL,)),
        *variations("camvid_fcn8s_cpu", SHORT_CPU, {"sgd": SGD}),
        *losses("camvid_fcn8s_cpu", LOSS_CPU),
        *seeds("camvid_fcn8s_cpu", SHORT_CPU),
        *papers_order("voc2012_fcn8s_box", ORDER_CPU),
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
        Run("shapes-32s", "shapes", (VAL,), COARSE, pretrained=False),
        Run("shapes-8s", "shapes", (VAL,), ("--epochs", "2"), start="shapes-32s", keep=True),
    ),
}
