/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/ctl.h"
#include "hvsim/server.h"

static const char usage[] =
    "usage: hvsim serve --dir DIR --socket PATH [--seed N] [--name NAME]\n"
    "       hvsim ctl [--wait] SOCKET OP [JSON]\n"
    "A simulated Hyper-V host for tests; the protocol is in tests/hvsim/README.md.\n";

static int
bad_usage(const char *what, const char *subject)
{
    (void)fprintf(stderr, "hvsim: %s '%s'\n%s", what, subject, usage);
    return 2;
}

static void
ready(const char *socket_path)
{
    (void)printf("hvsim: ready %s\n", socket_path);
    (void)fflush(stdout);
}

static int
serve(int argc, char **argv)
{
    const char *dir = NULL;
    const char *socket_path = NULL;
    const char *name = "hvsim";
    struct sim_host *h = NULL;
    struct sim_error err = {0};
    uint64_t seed = 1;
    uint32_t rc;

    for (int i = 0; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (value == NULL) {
            return bad_usage("no value after", argv[i]);
        }
        if (strcmp(argv[i], "--dir") == 0) {
            dir = value;
        } else if (strcmp(argv[i], "--socket") == 0) {
            socket_path = value;
        } else if (strcmp(argv[i], "--name") == 0) {
            name = value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            char *end = NULL;

            errno = 0;
            seed = strtoull(value, &end, 10);
            if (errno != 0 || *end != 0 || end == value || seed > INT64_MAX) {
                return bad_usage("no seed:", value);
            }
        } else {
            return bad_usage("unknown option", argv[i]);
        }
    }
    if (dir == NULL || socket_path == NULL) {
        return bad_usage("missing option", dir == NULL ? "--dir" : "--socket");
    }
    rc = host_open(&h, dir, name, seed, &err);
    if (rc == SIM_OK) {
        rc = server_run(h, socket_path, ready, &err);
    }
    host_close(h);
    if (rc != SIM_OK) {
        (void)fprintf(stderr, "hvsim: %s (0x%08X)\n", err.text, rc);
    }
    return rc == SIM_OK ? 0 : 2;
}

static int
ctl(int argc, char **argv)
{
    bool wait = argc > 0 && strcmp(argv[0], "--wait") == 0;

    if (wait) {
        argc--;
        argv++;
    }
    if (argc < 2 || argc > 3) {
        (void)fputs(usage, stderr);
        return 2;
    }
    return ctl_call(argv[0], argv[1], argc == 3 ? argv[2] : "{}", wait);
}

int
main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "serve") == 0) {
        return serve(argc - 2, argv + 2);
    }
    if (argc >= 2 && strcmp(argv[1], "ctl") == 0) {
        return ctl(argc - 2, argv + 2);
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        return 0;
    }
    return bad_usage("unknown command", argc >= 2 ? argv[1] : "");
}
