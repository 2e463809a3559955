"""A list of instructions, carried out by every thread of a team at once. Knows no model and no tensor.

Each instruction is a row of whole numbers (its slots below) and a float; threads take its tickets until
none are left, and go on to the next one when all are done.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.np.numpy_support import carray

from gencli.compiled.attending import attend_part, merge, rotate
from gencli.compiled.dots import dots_bfloat16, dots_float16, dots_float32, dots_int8
from gencli.compiled.functions import NONE, activate, normalise, rounded
from gencli.compiled.slots import (
    ACTIVATION,
    ADD,
    ATTEND,
    BIAS,
    BIAS_STRIDE,
    BLOCK,
    CACHE_HEAD,
    CACHE_ROW,
    COS,
    COUNT,
    COUNTER,
    COUNTERS,
    GATED,
    HEAD_DIM,
    HEADER,
    HEADS,
    INPUTS,
    KEYS,
    KV_HEADS,
    LEAST_OUTPUTS,
    LENGTHS,
    LINE,
    NORM,
    NORM_BIAS,
    NORM_WEIGHT,
    NUMBERS,
    OP,
    OUTPUTS,
    PADDED,
    PART,
    PART_RESULTS,
    PART_SUMS,
    PARTS,
    PRODUCT,
    RESULT,
    RESULT_STRIDE,
    ROTARY,
    ROWS,
    SCALE_STRIDE,
    SCALES,
    SCRATCH,
    SCRATCH_BYTES,
    SIN,
    SLOTS,
    TABLE,
    THREAD,
    THREADS,
    TOGETHER,
    VALUES,
    WEIGHT_STRIDE,
    WEIGHTS,
    X_STRIDE,
    X,
)
from gencli.compiled.team import copy, floats, line, njit, numbers, shorts, taken, wait


@njit
def _prepare(slots: Any, eps: Any, first: int, count: int, x: int, stride: int, row_scratch: int, steps: Any, whole: bool) -> None:
    """Rows `first` and following as a product takes them: normalised, for whole numbers rounded, padded with zeros."""
    inputs, padded = slots[INPUTS], slots[PADDED]
    weight, bias = line(slots[NORM_WEIGHT], inputs), line(slots[NORM_BIAS], inputs)
    for row in range(count):
        place = row_scratch if whole else x + row * stride
        normalise(line(slots[X] + 4 * (first + row) * slots[X_STRIDE], inputs), line(place, inputs), slots[NORM], weight, bias, eps)
        if whole:
            short = shorts(x + row * stride, padded)
            steps[row] = rounded(line(place, inputs), short)
            for at in range(inputs, padded):
                short[at] = 0
        else:
            steps[row] = 1
            padding = line(place, padded)
            for at in range(inputs, padded):
                padding[at] = 0


@njit
def _store(slots: Any, row: int, output: int, sums: Any, others: Any) -> None:
    """Activate, multiply with `others` where the MLP is gated, and write or add to the results."""
    count = len(sums)
    activate(sums, slots[ACTIVATION])
    if slots[GATED]:
        for at in range(count):
            sums[at] *= others[at]
    result = line(slots[RESULT] + 4 * (row * slots[RESULT_STRIDE] + output), count)
    if slots[ADD]:
        for at in range(count):
            result[at] += sums[at]
    else:
        for at in range(count):
            result[at] = sums[at]


@njit
def _attend(header: Any, slots: Any, scale: Any, ticket: int, scratch: int) -> None:
    """A part of the positions of a row, for the queries that share a head of keys and values."""
    rows, parts, head_dim, kv_heads = header[ROWS], header[PARTS], slots[HEAD_DIM], slots[KV_HEADS]
    group, width, one = slots[HEADS] // kv_heads, 4 * head_dim, np.float32(1)
    head, row, part = ticket % kv_heads, ticket // kv_heads % rows, ticket // kv_heads // rows
    length = numbers(header[LENGTHS], rows)[row]
    start, end = part * PART, min(part * PART + PART, length + 1)
    if start >= end:
        return
    place = slots[X] + 4 * row * slots[X_STRIDE]
    cos, sin = line(header[COS] + length * width, head_dim), line(header[SIN] + length * width, head_dim)
    copy(place + head * group * width, scratch, group * head_dim, scale)
    if slots[ROTARY]:
        for each in range(group):
            rotate(line(scratch + each * width, head_dim), cos, sin)
    offset = row * slots[CACHE_ROW] + head * slots[CACHE_HEAD]
    keys, values = slots[KEYS] + offset, slots[VALUES] + offset
    if end > length:  # the new position's own
        copy(place + (slots[HEADS] + head) * width, keys + length * width, head_dim, one)
        copy(place + (slots[HEADS] + kv_heads + head) * width, values + length * width, head_dim, one)
        if slots[ROTARY]:
            rotate(line(keys + length * width, head_dim), cos, sin)
    mixed = scratch + group * width
    scores = mixed + group * width
    sums = floats(scores + 4 * group * PART, group, 2)
    attend_part(
        scratch,
        group,
        head_dim,
        keys + start * width,
        values + start * width,
        end - start,
        scores,
        mixed,
        sums,
    )
    for each in range(group):
        if parts == 1:
            result = slots[RESULT] + 4 * row * slots[RESULT_STRIDE] + (head * group + each) * width
            copy(mixed + each * width, result, head_dim, one / sums[each, 1])
        else:
            at = (row * slots[HEADS] + head * group + each) * parts + part
            copy(mixed + each * width, slots[PART_RESULTS] + at * width, head_dim, one)
            copy(sums.ctypes.data + 8 * each, slots[PART_SUMS] + 8 * at, 2, one)


@njit
def _merge(header: Any, slots: Any, ticket: int) -> None:
    """The parts of one row's one head."""
    rows, parts, head_dim = header[ROWS], header[PARTS], slots[HEAD_DIM]
    row, head = ticket // slots[HEADS], ticket % slots[HEADS]
    count = numbers(header[LENGTHS], rows)[row] // PART + 1
    place = ticket * parts
    held = floats(slots[PART_RESULTS] + 4 * place * head_dim, count, head_dim)
    result = line(slots[RESULT] + 4 * (row * slots[RESULT_STRIDE] + head * head_dim), head_dim)
    merge(held, floats(slots[PART_SUMS] + 8 * place, count, 2), count, result)


@njit
def _tickets(header: Any, slots: Any) -> int:
    """How many tickets an instruction has."""
    rows = header[ROWS]
    if slots[OP] == PRODUCT:
        return max(1, slots[OUTPUTS] // slots[BLOCK]) * ((rows + TOGETHER - 1) // TOGETHER)
    if slots[OP] == ATTEND:
        return slots[KV_HEADS] * rows * header[PARTS]
    return slots[HEADS] * rows if header[PARTS] > 1 else 0


def _carry_out_of(kind: str, dots: Any, whole: bool = False) -> Any:
    """The interpreter for one kind of dot products."""

    @njit(kind=kind)
    def product(slots: Any, eps: Any, rows: int, threads: int, ticket: int, prepared: int, scratch: int) -> int:
        """A block of outputs for up to `TOGETHER` rows; the first of the rows that are prepared now."""
        outputs, block, padded = slots[OUTPUTS], slots[BLOCK], slots[PADDED]
        blocks = max(1, outputs // block)
        first, output = ticket // blocks * TOGETHER, ticket % blocks * block
        count = min(TOGETHER, rows - first)
        width = block if ticket % blocks < blocks - 1 else outputs - output  # the last block may be almost two
        stride, room = 4 * (padded + LINE), 4 * (2 * block + LINE)
        x = scratch + 4 * TOGETHER + stride
        if prepared != first:
            _prepare(slots, eps, first, count, x, stride, scratch + 4 * TOGETHER, line(scratch, TOGETHER), whole)
        results = x + TOGETHER * stride
        others, wide = results + TOGETHER * room, results + 2 * TOGETHER * room
        weight_stride = slots[WEIGHT_STRIDE]
        direct = slots[ACTIVATION] == NONE and not slots[GATED] and width >= LEAST_OUTPUTS
        for gate in range(1 + slots[GATED]):
            target, add = (results if gate == 0 else others, room, others, wide), 0
            if direct:
                place, add = slots[RESULT] + 4 * (first * slots[RESULT_STRIDE] + output), slots[ADD]
                target = (place, 4 * slots[RESULT_STRIDE], others, wide)
            start = gate * outputs + output
            factors, biases = slots[SCALES] + start * slots[SCALE_STRIDE], slots[BIAS] + start * slots[BIAS_STRIDE]
            finish = scratch, 4, factors, slots[SCALE_STRIDE], biases, slots[BIAS_STRIDE], add
            # the other half of a gated product comes next, else most likely this thread's next block
            following = output + (outputs if gate < slots[GATED] else threads * block)
            held, beyond = slots[WEIGHTS] + start * weight_stride, slots[WEIGHTS] + following * weight_stride
            dots(held, weight_stride, max(width, LEAST_OUTPUTS), x, stride, count, padded, target, finish, beyond)
        if not direct:
            for row in range(count):
                _store(slots, first + row, output, line(results + row * room, width), line(others + row * room, width))
        return first

    @njit(kind=kind)
    def carry_out(header: Any) -> None:
        """What every thread of the team does, from the first instruction to the last."""
        count = header[COUNT]
        scales = line(header[NUMBERS], count)
        scratch = header[SCRATCH] + taken(header.ctypes.data + 8 * THREAD, 1) * header[SCRATCH_BYTES]
        for at in range(count):
            slots = numbers(header[TABLE] + 8 * SLOTS * at, SLOTS)
            tickets, counter = _tickets(header, slots), header[COUNTERS] + 16 * COUNTER * at
            prepared = -1
            while True:
                ticket = taken(counter, 1)
                if ticket >= tickets:
                    break
                if slots[OP] == PRODUCT:
                    prepared = product(slots, scales[at], header[ROWS], header[THREADS], ticket, prepared, scratch)
                elif slots[OP] == ATTEND:
                    _attend(header, slots, scales[at], ticket, scratch)
                else:
                    _merge(header, slots, ticket)
                taken(counter + 8 * COUNTER, 1)
            wait(counter + 8 * COUNTER, tickets)

    return carry_out


_carry_out_float32, _carry_out_float16 = _carry_out_of("float32", dots_float32), _carry_out_of("float16", dots_float16)
_carry_out_bfloat16, _carry_out_int8 = _carry_out_of("bfloat16", dots_bfloat16), _carry_out_of("int8", dots_int8, True)


def _float32(program: Any) -> None:
    _carry_out_float32(carray(program, HEADER))


def _float16(program: Any) -> None:
    _carry_out_float16(carray(program, HEADER))


def _bfloat16(program: Any) -> None:
    _carry_out_bfloat16(carray(program, HEADER))


def _int8(program: Any) -> None:
    _carry_out_int8(carray(program, HEADER))


OPTIONS: Any = {"error_model": "numpy"}
WORKS = {"float32": _float32, "float16": _float16, "bfloat16": _bfloat16, "int8": _int8}


def compiled(kind: str) -> Any:
    """The interpreter for products of one kind of weights, from Numba's cache where it has one."""
    pointer: Any = types.CPointer
    signature = types.void(pointer(types.int64))
    try:
        return numba.cfunc(signature, cache=True, **OPTIONS)(WORKS[kind])
    except (RuntimeError, OSError):  # there is no folder that Numba may write to
        return numba.cfunc(signature, **OPTIONS)(WORKS[kind])
