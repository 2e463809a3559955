"""Where things stand in a program: the header, the slots of instructions, and their numbers. Knows nothing of what is done with them."""

from __future__ import annotations

# the header
TABLE, NUMBERS, COUNT, COUNTERS, SCRATCH, SCRATCH_BYTES, THREAD, THREADS, ROWS, LENGTHS, COS, SIN, PARTS, HEADER = range(14)
PRODUCT, ATTEND, MERGE = range(3)  # what an instruction does
# slots of every instruction: places are addresses, strides count float32 numbers
OP, X, X_STRIDE, RESULT, RESULT_STRIDE = range(5)
# slots of a product; the strides of weights, scales and biases are in bytes
INPUTS, PADDED, WEIGHTS, WEIGHT_STRIDE, SCALES, SCALE_STRIDE, BIAS, BIAS_STRIDE, OUTPUTS = range(5, 14)
NORM, NORM_WEIGHT, NORM_BIAS, ACTIVATION, GATED, ADD, BLOCK, SLOTS = range(14, 22)
# slots of an attention and of its merging; the strides of its cache are in bytes
HEADS, KV_HEADS, HEAD_DIM, KEYS, VALUES, CACHE_ROW, CACHE_HEAD, ROTARY, PART_RESULTS, PART_SUMS = range(5, 15)

ACTIVATIONS = ("none", "gelu", "gelu_tanh", "silu", "relu", "tanh")  # by number
NORMS = ("none", "rms", "layer")  # by number

LEAST_OUTPUTS = 8  # that a tile computes at once: fewer weights are padded to so many
AT_ONCE = 12  # outputs that tiles for several rows divide
NEAR = 1 << 14  # bytes of weights that every group of rows goes over while they lie in the first cache
WIDEST = 3 << 17  # bytes that near weights may take as float32, where they become it for many rows: they stay in the second cache
PART = 512  # positions that an attention takes at once
TOGETHER = 48  # rows of activations that a product takes at once: they stay in the second cache
LINE = 16  # numbers of 32 bits in a cache line: rows are set apart by one, or large powers of two share places in the cache
COUNTER = 16  # whole numbers between counters: threads that write to one do not slow readers of another
