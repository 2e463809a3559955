"""From text files to a checkpoint: corpus, vocabulary, training, evaluation, export. Knows nothing of gencli's run."""
