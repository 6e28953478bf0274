/* SPDX-License-Identifier: Apache-2.0 */

/* How connections come and go: dialing, listening, limits, stopping, clients that are killed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "wire/testing.h"

#define TCP "tcp://127.0.0.1:0"

static const char *program;

static uint64_t
ms_since(uint64_t start_ns)
{
    return (time_mono_ns() - start_ns) / 1000000u;
}

/* ---- dialing ---- */

static enum varve_err
dial(struct testing_pair *p, const char *url, uint32_t timeout_ms, struct cancel *cancel,
     struct varve_error *err)
{
    return channel_dial(&p->client, url, p->client_id, identity_public(p->server_id), NULL,
                        timeout_ms, cancel, err);
}

static void
addresses_of_another_kind_are_invalid(void **state)
{
    static const char *const bad[] = {
        "",           "127.0.0.1:7420",   "ws://127.0.0.1:1/", "tls+tcp://127.0.0.1:1",
        "inproc://x", "TCP://127.0.0.1:1"};
    struct testing_pair p = {0};
    struct channel_listener *l = NULL;
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(dial(&p, bad[i], 1000, NULL, &err), VARVE_ERR_INVALID);
        assert_int_equal(channel_listener_open(&l, bad[i], p.server_id, &err), VARVE_ERR_INVALID);
        assert_null(l);
    }
    testing_pair_close(&p);
}

static void
nobody_there_is_an_io_error(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    char url[256];

    (void)state;
    testing_pair_listen(&p, TCP);
    (void)snprintf(url, sizeof(url), "%s", p.url);
    channel_listener_stop(p.listener);
    channel_listener_close(p.listener);
    p.listener = NULL;
    assert_int_equal(dial(&p, url, 5000, NULL, &err), VARVE_ERR_IO);
    assert_non_null(strstr(err.msg, url));
    assert_int_equal(dial(&p, "ipc:///tmp/varve-no-such-socket", 5000, NULL, &err), VARVE_ERR_IO);
    assert_int_equal(dial(&p, "tcp://no-such-host.invalid:1", 5000, NULL, &err), VARVE_ERR_IO);
    testing_pair_close(&p);
}

static void
a_mute_server_costs_no_more_than_the_timeout(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    uint64_t start = time_mono_ns();

    (void)state;
    testing_pair_listen(&p, TCP); /* connections wait in the backlog, nobody answers */
    assert_int_equal(dial(&p, p.url, 300, NULL, &err), VARVE_ERR_TIMEOUT);
    assert_true(ms_since(start) >= 290 && ms_since(start) < 3000);
    testing_pair_close(&p);
}

static void
cancel_soon(void *arg)
{
    thread_sleep_ms(150);
    cancel_set(arg);
}

static void
dialing_can_be_cancelled(void **state)
{
    /* A mute server, and an address that swallows connection requests where it is routed at all. */
    struct testing_pair p = {0};
    struct varve_error err;

    (void)state;
    testing_pair_listen(&p, TCP);
    for (unsigned i = 0; i < 2; i++) {
        struct cancel cancel;
        struct thread t;
        uint64_t start = time_mono_ns();
        enum varve_err rc;

        cancel_init(&cancel);
        assert_int_equal(thread_start(&t, "cancel", cancel_soon, &cancel, &err), VARVE_OK);
        rc = dial(&p, i == 0 ? p.url : "tcp://192.0.2.1:7420", 60000, &cancel, &err);
        thread_join(&t);
        if (i == 0 || rc != VARVE_ERR_IO) { /* no route at all fails at once */
            assert_int_equal(rc, VARVE_ERR_CANCELLED);
        }
        assert_true(ms_since(start) < 3000);
        /* Already set: nothing is even tried for long. */
        start = time_mono_ns();
        assert_int_equal(dial(&p, p.url, 60000, &cancel, &err), VARVE_ERR_CANCELLED);
        assert_true(ms_since(start) < 2000);
        cancel_destroy(&cancel);
    }
    testing_pair_close(&p);
}

/* ---- stopping ---- */

struct accepting {
    struct testing_pair *p;
    enum varve_err result;
    struct varve_error err;
    uint64_t done_ns;
};

static void
accept_thread(void *arg)
{
    struct accepting *a = arg;
    struct channel_pending *pending = NULL;

    a->result = channel_listener_accept(a->p->listener, &pending, &a->err);
    channel_pending_drop(pending);
    a->done_ns = time_mono_ns();
}

static void
stopping_wakes_who_accepts(void **state)
{
    struct testing_pair p = {0};
    struct accepting a = {.p = &p};
    struct thread t;
    struct varve_error err;
    struct channel_pending *pending = NULL;

    (void)state;
    testing_pair_listen(&p, TCP);
    assert_int_equal(thread_start(&t, "accept", accept_thread, &a, &err), VARVE_OK);
    thread_sleep_ms(100);
    channel_listener_stop(p.listener);
    thread_join(&t);
    assert_int_equal(a.result, VARVE_ERR_CANCELLED);
    assert_int_equal(channel_listener_accept(p.listener, &pending, &err), VARVE_ERR_CANCELLED);
    testing_pair_close(&p);
}

static void
stopping_ends_handshakes_under_way(void **state)
{
    struct testing_pair p = {0};
    uint64_t start;
    int fd;

    (void)state;
    testing_pair_listen(&p, TCP);
    testing_pair_serve_one(&p);
    fd = testing_connect(p.url, 1); /* and says nothing: 10 s */
    thread_sleep_ms(100);
    start = time_mono_ns();
    channel_listener_stop(p.listener);
    testing_pair_join(&p);
    assert_true(ms_since(start) < 2000);
    assert_int_not_equal(p.server_result, VARVE_OK);
    (void)close(fd);
    testing_pair_close(&p);
}

static void
a_pending_connection_may_outlive_its_listener(void **state)
{
    struct testing_pair p = {0};
    struct channel_pending *pending = NULL;
    struct varve_error err;
    int fd;

    (void)state;
    testing_pair_listen(&p, TCP);
    fd = testing_connect(p.url, 1);
    assert_int_equal(channel_listener_accept(p.listener, &pending, &err), VARVE_OK);
    channel_listener_stop(p.listener);
    channel_listener_close(p.listener);
    p.listener = NULL;
    channel_pending_drop(pending);
    (void)close(fd);
    testing_pair_close(&p);
}

static void
a_local_socket_can_be_listened_on_again(void **state)
{
    struct testing_pair p = {0};
    char url[96];

    (void)state;
    (void)snprintf(url, sizeof(url), "ipc:///tmp/varve-listen-test-%ld.sock", (long)getpid());
    testing_pair_open(&p, url, NULL);
    testing_pair_close(&p);
    testing_pair_open(&p, url, NULL);
    testing_pair_close(&p);
    (void)unlink(url + strlen("ipc://"));
}

/* ---- limits ---- */

/* Whether the other side has closed it, within half a second. */
static bool
is_closed_unanswered(int fd)
{
    uint8_t byte;
    struct timeval half = {.tv_sec = 0, .tv_usec = 500000};
    ssize_t n;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &half, sizeof(half));
    n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

struct flood {
    struct channel_listener *listener;
    struct channel_pending *pending[128];
    struct mutex lock;
    unsigned count;
};

static void
collect_thread(void *arg)
{
    struct flood *f = arg;
    struct varve_error err;

    for (;;) {
        struct channel_pending *pending = NULL;

        if (channel_listener_accept(f->listener, &pending, &err) != VARVE_OK) {
            return;
        }
        mutex_lock(&f->lock);
        f->pending[f->count++] = pending;
        mutex_unlock(&f->lock);
    }
}

static unsigned
flood_count(struct flood *f)
{
    unsigned n;

    mutex_lock(&f->lock);
    n = f->count;
    mutex_unlock(&f->lock);
    return n;
}

static void
a_flood_of_handshakes_is_limited_per_address_and_in_all(void **state)
{
    struct testing_pair p = {0};
    struct flood f = {.count = 0};
    struct thread t;
    struct varve_error err;
    int fds[2 + 9 * 10];
    unsigned n = 0;

    (void)state;
    testing_pair_listen(&p, TCP);
    f.listener = p.listener;
    mutex_init(&f.lock);
    assert_int_equal(thread_start(&t, "accept", collect_thread, &f, &err), VARVE_OK);
    /* Nine addresses, ten connections each. */
    for (unsigned host = 2; host < 11; host++) {
        for (unsigned i = 0; i < 10; i++) {
            fds[n] = testing_connect(p.url, host);
            if (i >= 8 || host >= 10) {
                assert_true(is_closed_unanswered(fds[n]));
            }
            n++;
        }
    }
    assert_int_equal(flood_count(&f), 64);
    assert_false(is_closed_unanswered(fds[0]));
    /* One goes, one may come: from the address that has the free place, and in all. */
    channel_pending_drop(f.pending[0]);
    f.pending[0] = NULL;
    fds[n] = testing_connect(p.url, 2);
    assert_false(is_closed_unanswered(fds[n]));
    n++;
    assert_int_equal(flood_count(&f), 65);
    fds[n] = testing_connect(p.url, 2);
    assert_true(is_closed_unanswered(fds[n]));
    n++;
    channel_listener_stop(p.listener);
    thread_join(&t);
    for (unsigned i = 0; i < f.count; i++) {
        channel_pending_drop(f.pending[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        (void)close(fds[i]);
    }
    mutex_destroy(&f.lock);
    testing_pair_close(&p);
}

/* ---- clients that are killed ---- */

#define KILLS 100u

/* The client program: connects and sends until it is killed. */
static int
client_main(const char *url, const char *key_hex)
{
    struct varve_error err;
    struct identity *own = NULL;
    struct channel *ch = NULL;
    static uint8_t data[1024 * 1024];
    uint8_t key[32];

    for (unsigned i = 0; i < 32; i++) {
        char digits[3] = {key_hex[2 * i], key_hex[2 * i + 1], '\0'};

        key[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (crypto_init(&err) != VARVE_OK || identity_generate(&own, &err) != VARVE_OK ||
        channel_dial(&ch, url, own, key, NULL, 5000, NULL, &err) != VARVE_OK) {
        return 1;
    }
    for (unsigned i = 0; i < 100000; i++) {
        if (testing_send(ch, data, sizeof(data) - i % 1000, &err) != VARVE_OK) {
            return 1;
        }
    }
    return 1;
}

static pid_t
start_client(const char *url, const uint8_t key[32])
{
    char hex[65];
    pid_t pid;

    for (unsigned i = 0; i < 32; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", key[i]);
    }
    pid = fork();
    if (pid == 0) {
        (void)execl(program, program, "client", url, hex, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void
a_hundred_clients_killed_while_sending_leave_nothing_behind(void **state)
{
    struct testing_pair p = {0};
    uint32_t seed = 12345;
    unsigned before = 0;
    unsigned inside = 0;

    (void)state;
    testing_pair_listen(&p, TCP);
    for (unsigned i = 0; i < KILLS; i++) {
        struct varve_error err;
        uint8_t *msg = NULL;
        size_t len = 0;
        enum varve_err rc;
        pid_t pid;

        testing_pair_serve_one(&p);
        pid = start_client(p.url, identity_public(p.server_id));
        assert_true(pid > 0);
        testing_pair_join(&p);
        if (p.server_result != VARVE_OK) {
            fail_msg("client %u: %s", i, p.server_err.msg);
        }
        rc = channel_recv(p.server, &msg, &len, &err); /* it is sending */
        assert_int_equal(rc, VARVE_OK);
        free(msg);
        seed = seed * 1664525u + 1013904223u;
        thread_sleep_ms((seed >> 16) % 6);
        assert_int_equal(kill(pid, SIGKILL), 0);
        rc = testing_recv_error(p.server, &err);
        assert_int_equal(rc, VARVE_ERR_IO);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        channel_close(p.server);
        p.server = NULL;
        if (i == 4) {
            before = testing_open_descriptors(); /* after nng has made what it keeps */
        }
        inside++;
    }
    assert_int_equal(inside, KILLS);
    for (unsigned i = 0; i < 100 && testing_open_descriptors() > before; i++) {
        thread_sleep_ms(50); /* nng closes on a thread of its own */
    }
    assert_true(testing_open_descriptors() <= before);
    testing_pair_close(&p);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_another_kind_are_invalid),
        cmocka_unit_test(nobody_there_is_an_io_error),
        cmocka_unit_test(a_mute_server_costs_no_more_than_the_timeout),
        cmocka_unit_test(dialing_can_be_cancelled),
        cmocka_unit_test(stopping_wakes_who_accepts),
        cmocka_unit_test(stopping_ends_handshakes_under_way),
        cmocka_unit_test(a_pending_connection_may_outlive_its_listener),
        cmocka_unit_test(a_local_socket_can_be_listened_on_again),
        cmocka_unit_test(a_flood_of_handshakes_is_limited_per_address_and_in_all),
        cmocka_unit_test(a_hundred_clients_killed_while_sending_leave_nothing_behind),
    };

    program = argv[0];
    if (argc == 4 && strcmp(argv[1], "client") == 0) {
        return client_main(argv[2], argv[3]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
