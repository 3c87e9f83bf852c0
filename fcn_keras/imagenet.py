"""Mean and standard deviation of ImageNet's RGB in [0, 1], as torchvision's weights expect them."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

MEAN_PIXEL = tuple(round(255 * mean) for mean in MEAN)
"""Zero after the model's normalisation, to within half a grey level."""
