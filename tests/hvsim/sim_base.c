/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint32_t
sim_fail(struct sim_error *err, uint32_t code, const char *fmt, ...)
{
    va_list ap;

    err->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return code;
}

static uint32_t
code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return SIM_FILE_MISSING;
    case ENOSPC:
        return SIM_NO_SPACE;
    case EINVAL:
        return SIM_INVALID;
    default:
        return SIM_IO;
    }
}

uint32_t
sim_fail_errno(struct sim_error *err, int errnum, const char *fmt, ...)
{
    size_t used;
    va_list ap;

    err->code = code_of_errno(errnum);
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(errnum));
    return err->code;
}

static void
out_of_memory(void)
{
    (void)fputs("hvsim: out of memory\n", stderr);
    abort();
}

void *
sim_alloc(size_t size)
{
    void *p = calloc(1, size != 0 ? size : 1);

    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

char *
sim_strdup(const char *s)
{
    size_t len = strlen(s) + 1;
    char *copy = sim_alloc(len);

    memcpy(copy, s, len);
    return copy;
}

char *
sim_printf(const char *fmt, ...)
{
    va_list ap;
    va_list again;
    char *text = NULL;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0) {
        out_of_memory();
    }
    text = sim_alloc((size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

void *
sim_array_add(void *items_ptr, size_t *count, size_t item_size)
{
    void *old = NULL;
    void *grown = NULL;

    /* items_ptr points to a typed pointer; its bytes are copied, never aliased. */
    memcpy(&old, items_ptr, sizeof(old));
    grown = realloc(old, (*count + 1) * item_size);
    if (grown == NULL) {
        out_of_memory();
    }
    memcpy(items_ptr, &grown, sizeof(grown));
    memset((char *)grown + *count * item_size, 0, item_size);
    *count += 1;
    return (char *)grown + (*count - 1) * item_size;
}

void
sim_array_remove(void *items, size_t *count, size_t item_size, size_t index)
{
    char *at = (char *)items + index * item_size;

    memmove(at, at + item_size, (*count - index - 1) * item_size);
    *count -= 1;
}

static uint64_t
splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t
rotate_left(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

void
sim_random_seed(struct sim_random *r, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        r->s[i] = splitmix64(&seed);
    }
}

uint64_t
sim_random_next(struct sim_random *r)
{
    uint64_t result = rotate_left(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotate_left(r->s[3], 45);
    return result;
}

uint64_t
sim_random_below(struct sim_random *r, uint64_t bound)
{
    return sim_random_next(r) % bound;
}

void
sim_random_guid(struct sim_random *r, struct guid *out)
{
    uint8_t bytes[16];

    for (unsigned i = 0; i < 16; i++) {
        bytes[i] = (uint8_t)(sim_random_next(r) >> 32);
    }
    guid_from_random(out, bytes);
}

void
sim_random_fill(void *buf, size_t len, uint64_t seed, uint64_t offset)
{
    uint8_t *p = buf;
    uint64_t word = 0;

    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;

        if (i == 0 || at % 8 == 0) {
            uint64_t state = seed * UINT64_C(0xD1342543DE82EF95) + at / 8;

            word = splitmix64(&state);
            if (at % 8 == 0 && len - i >= 8) {
                memcpy(p + i, &word, 8);
                i += 7;
                continue;
            }
        }
        p[i] = (uint8_t)(word >> (8 * (at % 8)));
    }
}

uint64_t
sim_clock_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
