"""A narrow FCN-8s on the built-in shapes, from random weights.

fcn-keras train --backend jax
"""

from fcn_keras.training.config import TrainConfig

config = TrainConfig(
    dataset="shapes",
    model="fcn8s",
    backbone_width=16,
    head_width=128,
    dropout=0.1,
    crop_size=128,
    min_scale=0.75,
    max_scale=1.5,
    batch_size=8,
    epochs=8,
    optimizer="adamw",
    learning_rate=1e-3,
    warmup_steps=50,
    weight_decay=1e-4,
    clip_norm=1.0,
    eval_batch_size=10,
    bucket=160,  # one shape for every validation image
)
