/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STATE_STATE_TESTING_H
#define VARVE_STATE_STATE_TESTING_H

#include "base/testing.h"

#include "state/state.h"

/* For the tests of state/: a state in a folder of its own, and hosts in it. */
#define HOUR INT64_C(3600000000)
#define NOW  INT64_C(1800000000000000)

extern struct varve_error err;

struct place {
    char folder[64];
    char path[96];
    struct state *st;
};

int set_up(void **state);
int tear_down(void **state);
void reopen(struct place *p);
/* An id, a secret or a key that is told apart by one number. */
void fill(uint8_t *out, size_t len, uint8_t seed);
struct guid invite(struct place *p, const char *name, uint8_t seed);
enum varve_err enrol_at(struct place *p, uint8_t seed, uint8_t key_seed, int64_t now,
                        struct host *out);
struct guid enrolled(struct place *p, const char *name, uint8_t seed);

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
