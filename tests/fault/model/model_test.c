/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "crypto/identity.h"
#include "fault/model/model.h"

/*
 * The store against the table of model.h, sequence after sequence.
 *
 *     model_test                           what CI runs
 *     model_test SEED [STEPS [3,7,12]]     one sequence again, of it only these steps, telling each
 *     model_test --minutes N [FIRST]       sequences of all lengths from seed FIRST on, for N minutes
 *
 * A sequence that fails is printed with its seed and the step, then made shorter, and the shorter one is printed
 * as the arguments that repeat it.
 */
#if VARVE_SANITIZED
#define SEQUENCES 24u
#else
#define SEQUENCES 72u
#endif
#define STEPS 60u
#define TRIES 150u /* runs spent on making a sequence shorter */

static void
print_counts(const struct counts *c)
{
    printf("%" PRIu64 " sequences, %" PRIu64 " steps, %" PRIu64 " states compared, %" PRIu64
           " points read back, %" PRIu64 " crash points (%" PRIu64 " power cuts, %" PRIu64
           " kills), %" PRIu64 " failed calls, %" PRIu64 " full marks, %" PRIu64
           " bits flipped, %" PRIu64 " healings, %" PRIu64 " repairs, %" PRIu64
           " verifications, %" PRIu64 " verdicts, %" PRIu64 " key changes, %" PRIu64
           " secrets refused, %" PRIu64 " rebuilds, %" PRIu64 " packs removed, %" PRIu64
           " collections beside open runs, %" PRIu64 " ends with unread nodes, %" PRIu64
           " violations\n",
           c->sequences, c->steps, c->states, c->points, c->cuts + c->kills, c->cuts, c->kills,
           c->failures, c->marks, c->flips, c->heals, c->repairs, c->verifies, c->verdicts,
           c->key_changes, c->refused, c->rebuilds, c->packs_removed, c->across, c->unread,
           c->violations);
    (void)fflush(stdout);
}

static void
print_shorter(const struct sequence *seq, const char *found)
{
    static uint8_t keep[MODEL_STEPS];
    char first[400];
    bool any = false;

    printf("%s\n", found);
    (void)snprintf(first, sizeof(first), "%s", found);
    memset(keep, 0, sizeof(keep));
    for (unsigned i = 0; i < seq->steps; i++) {
        keep[i] = seq->keep == NULL ? 1 : seq->keep[i];
    }
    model_shrink(seq, TRIES, keep, first);
    printf("shorter: %s\nmodel_test %" PRIu64 " %u ", first, seq->seed, seq->steps);
    for (unsigned i = 0; i < seq->steps; i++) {
        if (keep[i]) {
            printf("%s%u", any ? "," : "", i + 1);
            any = true;
        }
    }
    printf("%s\n", any ? "" : "0");
    (void)fflush(stdout);
}

static void
the_store_and_the_table_agree_at_every_step(void **state)
{
    struct counts c = {0};
    char first[400];

    (void)state;
    for (uint64_t seed = 1; seed <= SEQUENCES; seed++) {
        struct sequence seq = {.seed = seed, .steps = STEPS};

        if (!model_run(&seq, &c, first, NULL)) {
            print_counts(&c);
            print_shorter(&seq, first);
            fail_msg("%s", first);
        }
    }
    print_counts(&c);
    assert_true(c.cuts > SEQUENCES && c.kills > SEQUENCES / 2 && c.failures > SEQUENCES / 2 &&
                c.packs_removed > 10 * SEQUENCES && c.across > SEQUENCES &&
                c.heals > SEQUENCES / 4 && c.key_changes > SEQUENCES / 4 &&
                c.verdicts > SEQUENCES && c.repairs > 0);
}

static void
the_same_seed_makes_the_same_calls(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1006; seed++) {
        const struct sequence seq = {.seed = seed, .steps = STEPS};
        struct counts one = {0};
        struct counts two = {0};
        uint64_t first = 0;
        uint64_t again = 0;
        char text[400];

        assert_true(model_run(&seq, &one, text, &first));
        assert_true(model_run(&seq, &two, text, &again));
        assert_int_equal(first, again);
        assert_memory_equal(&one, &two, sizeof(one));
    }
}

/* And a sequence that notices it is made shorter and still does. */
static void
must_be_noticed(enum broken broken)
{
    static uint8_t keep[MODEL_STEPS];
    struct sequence seq = {.seed = 1, .steps = STEPS, .broken = broken, .points_only = true};
    struct counts c = {0};
    char first[400] = "";
    unsigned steps = 0;

    while (seq.seed <= 100 && model_run(&seq, &c, first, NULL)) {
        seq.seed++;
    }
    assert_int_equal(c.violations, 1);
    memset(keep, 1, sizeof(keep));
    model_shrink(&seq, 40, keep, first);
    for (unsigned i = 0; i < STEPS; i++) {
        steps += keep[i];
    }
    printf("noticed after %" PRIu64 " sequences, in %u steps: %s\n", c.sequences, steps, first);
    assert_true(steps < STEPS);
    seq.keep = keep;
    assert_false(model_run(&seq, &c, first, NULL));
}

static void
packs_that_go_while_a_run_relies_on_them_are_noticed(void **state)
{
    (void)state;
    must_be_noticed(USE_ENDS_EARLY);
}

static void
points_that_go_after_their_packs_are_noticed(void **state)
{
    (void)state;
    must_be_noticed(LATE_REMOVE);
}

static void
points_that_come_before_their_packs_are_noticed(void **state)
{
    (void)state;
    must_be_noticed(EARLY_ACK);
}

/* ---- by hand ---- */

static int
one(int argc, char **argv)
{
    static uint8_t keep[MODEL_STEPS];
    struct sequence seq = {.seed = strtoull(argv[1], NULL, 10), .steps = STEPS, .tell = true};
    struct counts c = {0};
    char first[400];

    if (argc > 2) {
        seq.steps = (unsigned)strtoul(argv[2], NULL, 10);
        seq.steps = seq.steps > MODEL_STEPS ? MODEL_STEPS : seq.steps;
    }
    for (char *at = argc > 3 ? argv[3] : NULL; at != NULL && *at != '\0';) {
        unsigned long step = strtoul(at, &at, 10);

        if (step > 0 && step <= MODEL_STEPS) {
            keep[step - 1] = 1;
        }
        seq.keep = keep;
        at += *at == ',' ? 1 : (int)strlen(at);
    }
    if (!model_run(&seq, &c, first, NULL)) {
        printf("%s\n", first);
        if (seq.keep == NULL) {
            print_shorter(&seq, first);
        }
    }
    print_counts(&c);
    return c.violations > 0 ? 1 : 0;
}

static int
for_minutes(int argc, char **argv)
{
    uint64_t end = time_mono_ns() + strtoull(argv[2], NULL, 10) * 60 * 1000000000ull;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 10000;
    struct counts c = {0};
    char first[400];

    for (; time_mono_ns() < end && c.violations < 10; seed++) {
        const struct sequence seq = {.seed = seed, .steps = 20 + (unsigned)(seed % 12) * 20};

        if (!model_run(&seq, &c, first, NULL)) {
            print_shorter(&seq, first);
        }
        if (seed % 500 == 0) {
            print_counts(&c);
        }
    }
    print_counts(&c);
    return c.violations > 0 ? 1 : 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_store_and_the_table_agree_at_every_step),
        cmocka_unit_test(the_same_seed_makes_the_same_calls),
        cmocka_unit_test(packs_that_go_while_a_run_relies_on_them_are_noticed),
        cmocka_unit_test(points_that_go_after_their_packs_are_noticed),
        cmocka_unit_test(points_that_come_before_their_packs_are_noticed),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "--minutes") != 0) {
        return one(argc, argv);
    }
    /* Failures by the hundred are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL) {
        return 1;
    }
    return argc > 2 ? for_minutes(argc, argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
