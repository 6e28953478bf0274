/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/ctl.h"
#include "hvsim/port_server.h"
#include "hvsim/server.h"

static const char usage[] =
    "usage: hvsim serve --dir DIR --socket PATH [--seed N] [--name NAME]\n"
    "       hvsim ctl [--wait] SOCKET OP [JSON]\n"
    "       hvsim ports HOSTSOCKET SOCKET\n"
    "       hvsim bytes SEED LENGTH\n"
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

static bool
parse_number(const char *text, uint64_t *out)
{
    char *end = NULL;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *out <= INT64_MAX;
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
            if (!parse_number(value, &seed)) {
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

static int
ports(const char *host_socket, const char *socket_path)
{
    struct varve_error err;
    enum varve_err rc = port_server_run(host_socket, socket_path, &err);

    (void)fprintf(stderr, "hvsim: %s\n", err.msg);
    return rc == VARVE_OK ? 0 : 2;
}

/* Bytes nobody else has, the same for the same seed: what scripts fill files with. */
static int
bytes(const char *seed_text, const char *length_text)
{
    static uint8_t buf[1024 * 1024];
    uint64_t seed = 0;
    uint64_t length = 0;

    if (!parse_number(seed_text, &seed) || !parse_number(length_text, &length)) {
        return bad_usage("no number:", length_text);
    }
    for (uint64_t off = 0; off < length; off += sizeof(buf)) {
        size_t n = length - off < sizeof(buf) ? (size_t)(length - off) : sizeof(buf);

        sim_random_fill(buf, n, seed, off);
        if (fwrite(buf, 1, n, stdout) != n) {
            return 2;
        }
    }
    return fflush(stdout) == 0 ? 0 : 2;
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
    if (argc == 4 && strcmp(argv[1], "ports") == 0) {
        return ports(argv[2], argv[3]);
    }
    if (argc == 4 && strcmp(argv[1], "bytes") == 0) {
        return bytes(argv[2], argv[3]);
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        (void)fputs(usage, stdout);
        return 0;
    }
    return bad_usage("unknown command", argc >= 2 ? argv[1] : "");
}
