/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * What connected agents cost a collector: bench_sessions [COUNT].
 *
 * One process is the collector, a forked one all the agents; each says Hello and Inventory and stays.  Prints the
 * collector's resident memory and number of mappings without any and with all of them.
 */
static void
key_of(uint32_t n, struct identity **out)
{
    uint8_t secret[IDENTITY_KEY_SIZE] = {9};

    memcpy(secret + 1, &n, sizeof(n));
    assert_ok(identity_from_secret(out, secret, &err), &err);
}

static void
enrol(struct stage *st, uint32_t n)
{
    uint8_t secret[STATE_SECRET_SIZE] = {3};
    struct identity *id = NULL;
    struct guid guid;
    struct host h;
    char name[32];

    memcpy(secret + 1, &n, sizeof(n));
    (void)snprintf(name, sizeof(name), "node-%u", n);
    key_of(n, &id);
    assert_ok(state_host_invite(st->c.state, name, 1, INT64_MAX, secret, secret, &guid, &err),
              &err);
    assert_ok(state_host_enrol(st->c.state, secret, identity_public(id), 2, &h, &err), &err);
    host_release(&h);
    identity_free(id);
}

static size_t
count_lines(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t lines = 0;
    int c;

    while (f != NULL && (c = fgetc(f)) != EOF) {
        lines += c == '\n';
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return lines;
}

static void
tell(const char *when, size_t agents)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;
    char line[128] = "";
    char *size_end = line;

    if (f == NULL) {
        return;
    }
    if (fgets(line, sizeof(line), f) != NULL) {
        (void)strtoull(line, &size_end, 10);
        pages = strtoull(size_end, NULL, 10);
    }
    (void)fclose(f);
    (void)printf("%s: agents=%zu resident_kib=%llu mappings=%zu\n", when, agents, pages * 4,
                 count_lines("/proc/self/maps"));
    (void)fflush(stdout);
}

/* The agents' process: connects all, says so, leaves when the pipe is closed. */
static int
agents(struct stage *st, uint32_t count, int ready, int go_on)
{
    struct peer *peers = calloc(count, sizeof(*peers));
    const struct test_vm vm = {{{0x33}}, "vm", 1};
    char byte = 0;

    if (peers == NULL || read(go_on, &byte, 1) != 1) {
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct identity *id = NULL;

        key_of(i, &id);
        peer_agent(&peers[i], st, id);
        if (agent_inventory(&peers[i], &vm, 1) != VARVE_OK) {
            return 1;
        }
        identity_free(id);
    }
    if (write(ready, "x", 1) != 1) {
        return 1;
    }
    (void)!read(go_on, &byte, 1);
    _exit(0);
}

int
main(int argc, char **argv)
{
    uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    struct rlimit files = {65536, 65536};
    struct stage *st = NULL;
    int ready[2];
    int go_on[2];
    int status = 0;
    char byte;
    pid_t child;

    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (crypto_init(&err) != VARVE_OK || pipe(ready) != 0 || pipe(go_on) != 0) {
        return 1;
    }
    st = stage_new();
    st->options.sessions = count + 8;
    child = fork(); /* before there are threads */
    if (child == 0) {
        (void)close(go_on[1]);
        _exit(agents(st, count, ready[1], go_on[0]));
    }
    (void)close(ready[1]);
    stage_open(st);
    for (uint32_t i = 0; i < count; i++) {
        enrol(st, i);
    }
    tell("before", 0);
    if (write(go_on[1], "x", 1) != 1 || read(ready[0], &byte, 1) != 1) {
        (void)fprintf(stderr, "not all agents could connect\n");
        return 1;
    }
    tell("connected", registry_hosts_connected(st->c.registry));
    (void)close(go_on[1]);
    (void)waitpid(child, &status, 0);
    stage_free(st);
    return status == 0 ? 0 : 1;
}
