/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_TWICE_H
#define VARVE_STORE_TWICE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Small objects that everything hangs on (key objects, point records of version 2) hold their content
 * twice: at 0, and again at the next multiple of TWICE_UNIT, zeros between.  One object is still one
 * create, and neither a flipped bit nor a lost sector takes both (docs/format/store.md section 7.1).
 */
#define TWICE_UNIT 4096u

/* Where the second copy of len bytes begins. */
static inline size_t
twice_second(size_t len)
{
    return (len + TWICE_UNIT - 1) / TWICE_UNIT * TWICE_UNIT;
}

/* Size of the object for content of len bytes. */
static inline size_t
twice_size(size_t len)
{
    return twice_second(len) + len;
}

/* The content's length when the object has size bytes; 0: no object has that size. */
static inline size_t
twice_content(uint64_t size)
{
    uint64_t second = (size + 2 * TWICE_UNIT - 1) / (2 * TWICE_UNIT) * TWICE_UNIT;
    uint64_t len = size > second ? size - second : 0;

    return len > 0 && twice_second((size_t)len) == second ? (size_t)len : 0;
}

#endif
