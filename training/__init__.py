"""Makes training data and trains the models. Imports everything below it; nothing imports it."""
