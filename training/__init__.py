"""Makes training data and trains the models. Imports everything below it; nothing imports it."""

import realmaster.families  # noqa: F401  # before diffusers: it silences what torchao says of itself
