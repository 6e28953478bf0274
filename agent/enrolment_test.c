/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <string.h>

#include "enrolment.h"
#include "os/file_mem.h"
#include "uplink/uplink_testing.h"

/* A collector that greets whoever comes, on a thread of its own. */
struct greeter {
    struct testing_collector collector;
    struct thread thread;
    unsigned greets;  /* connections to expect */
    unsigned refuses; /* and refuse, before those */
};

static void
greeter_main(void *arg)
{
    struct greeter *g = arg;
    unsigned i;

    for (i = 0; i < g->refuses + g->greets; i++) {
        g->collector.refuse = i < g->refuses;
        testing_accept(&g->collector);
        if (!g->collector.refuse) {
            testing_welcome(&g->collector);
        }
    }
}

static void
greeter_start(struct greeter *g, unsigned refuses, unsigned greets, char token[ACCESS_TOKEN_SIZE])
{
    struct access_token t;
    struct varve_error err;

    testing_collector_open(&g->collector);
    g->refuses = refuses;
    g->greets = greets;
    memset(&t, 0, sizeof(t));
    memcpy(t.secret.secret, g->collector.secret, sizeof(t.secret.secret));
    memcpy(t.collector, identity_public(g->collector.identity), sizeof(t.collector));
    (void)snprintf(t.address, sizeof(t.address), "%s", g->collector.url);
    assert_ok(access_token_format(&t, token, &err), &err);
    assert_ok(thread_start(&g->thread, "greeter", greeter_main, g, &err), &err);
}

static void
greeter_end(struct greeter *g)
{
    thread_join(&g->thread);
    testing_collector_close(&g->collector);
}

static void
an_invitation_makes_key_and_enrolment(void **state)
{
    char token[ACCESS_TOKEN_SIZE];
    struct identity *key = NULL;
    struct mem_fs *mem = NULL;
    struct enrolment e;
    struct varve_error err;
    struct greeter g;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    greeter_start(&g, 0, 1, token);
    assert_ok(enrolment_make(mem_fs(mem), "/var/agent", token, "test", &err), &err);
    greeter_end(&g);
    assert_true(g.collector.enrolled);
    mem_fs_power_cut(mem, 16); /* all of it is durable */
    assert_ok(enrolment_load(&e, &key, mem_fs(mem), "/var/agent", &err), &err);
    assert_string_equal(e.address, g.collector.url);
    assert_string_equal(e.name, "alpha");
    assert_int_equal(e.host.bytes[0], 0xAB);
    identity_free(key);
    assert_err(enrolment_make(mem_fs(mem), "/var/agent", token, "test", &err), VARVE_ERR_EXISTS,
               &err);
    assert_non_null(strstr(err.msg, "/var/agent"));
    mem_fs_free(mem);
}

static void
a_refused_invitation_says_the_way_out(void **state)
{
    char token[ACCESS_TOKEN_SIZE];
    struct identity *key = NULL;
    struct mem_fs *mem = NULL;
    struct enrolment e;
    struct varve_error err;
    struct greeter g;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    greeter_start(&g, 1, 0, token);
    assert_err(enrolment_make(mem_fs(mem), "/s", token, "test", &err), VARVE_ERR_AUTH, &err);
    greeter_end(&g);
    assert_non_null(strstr(err.msg, "varve host invite"));
    assert_err(enrolment_load(&e, &key, mem_fs(mem), "/s", &err), VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "varve-agent enroll"));
    mem_fs_free(mem);
}

/* The collector had taken the key, the host lost power before it wrote that down: the token is
 * spent, the key is not. */
static void
enrolling_again_repairs_a_crash(void **state)
{
    char token[ACCESS_TOKEN_SIZE];
    struct identity *key = NULL;
    struct mem_fs *mem = NULL;
    struct enrolment e;
    struct varve_error err;
    struct greeter g;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    greeter_start(&g, 1, 0, token);
    assert_err(enrolment_make(mem_fs(mem), "/s", token, "test", &err), VARVE_ERR_AUTH, &err);
    greeter_end(&g);
    greeter_start(&g, 1, 1, token); /* refuses the token, takes the key */
    assert_ok(enrolment_make(mem_fs(mem), "/s", token, "test", &err), &err);
    greeter_end(&g);
    assert_false(g.collector.enrolled);
    assert_ok(enrolment_load(&e, &key, mem_fs(mem), "/s", &err), &err);
    identity_free(key);
    mem_fs_free(mem);
}

static void
what_is_no_token_is_refused(void **state)
{
    struct mem_fs *mem = NULL;
    struct varve_error err;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_err(enrolment_make(mem_fs(mem), "/s", "nonsense", "test", &err), VARVE_ERR_INVALID,
               &err);
    assert_non_null(strstr(err.msg, "token"));
    mem_fs_free(mem);
}

#define HEX  "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0eff"
#define GOOD "varve-enrolment-1\naddress tcp://h:1\ncollector " HEX "\n"
#define HOST "host 01020304-0506-0708-090a-0b0c0d0e0f10\n"

static void
a_damaged_enrolment_is_corrupt(void **state)
{
    static const char *const bad[] = {
        "",
        "varve-enrolment-2\n",
        GOOD,
        GOOD HOST,
        GOOD HOST "name\n",
        GOOD HOST "name \n",
        GOOD HOST "name x",
        GOOD HOST "name x\n\n",
        GOOD "host zz\nname x\n",
        "varve-enrolment-1\naddress tcp://h:1\ncollector 00\n" HOST "name x\n",
        "varve-enrolment-1\ncollector " HEX "\naddress tcp://h:1\n" HOST "name x\n",
    };
    static const char good[] = GOOD HOST "name x y\n";
    struct enrolment e;
    struct varve_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_err(enrolment_parse(&e, (const uint8_t *)bad[i], strlen(bad[i]), &err),
                   VARVE_ERR_CORRUPT, &err);
    }
    assert_ok(enrolment_parse(&e, (const uint8_t *)good, strlen(good), &err), &err);
    assert_string_equal(e.name, "x y");
    assert_int_equal(e.collector[31], 0xFF);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_invitation_makes_key_and_enrolment),
        cmocka_unit_test(a_refused_invitation_says_the_way_out),
        cmocka_unit_test(enrolling_again_repairs_a_crash),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(a_damaged_enrolment_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
