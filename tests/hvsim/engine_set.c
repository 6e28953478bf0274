/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/time.h"
#include "hvsim/engine_internal.h"
#include "hvsim/group.h"
#include "hvsim/sim_file.h"
#include "hvsim/sim_json.h"

#define WRITE_STEP 65536u
#define REPLY_MAX  4096u
#define REPLY_S    20

/* ---- the file server ---- */

static int
connect_control(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = REPLY_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
                    connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool
exchange(int fd, const char *line, char reply[REPLY_MAX])
{
    size_t left = strlen(line);
    size_t got = 0;

    while (left > 0) {
        ssize_t n = send(fd, line, left, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        line += n;
        left -= (size_t)n;
    }
    while (got < REPLY_MAX - 1 && (got == 0 || reply[got - 1] != '\n')) {
        ssize_t n = recv(fd, reply + got, REPLY_MAX - 1 - got, 0);

        if (n <= 0) {
            return false;
        }
        got += (size_t)n;
    }
    reply[got] = '\0';
    return true;
}

/* Takes request.  The server does it, or it did not happen. */
static uint32_t
tell_server(const struct sim_set *s, json_t *request, struct sim_error *err)
{
    char reply[REPLY_MAX] = "";
    char *text;
    char *line;
    json_t *answer;
    bool ok;
    int fd;

    if (s->control[0] == '\0') {
        json_decref(request);
        return SIM_OK;
    }
    (void)json_object_set_new(request, "path", json_string(s->path));
    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    line = sim_printf("%s\n", text != NULL ? text : "{}");
    free(text);
    fd = connect_control(s->control);
    ok = fd >= 0 && exchange(fd, line, reply);
    if (fd >= 0) {
        (void)close(fd);
    }
    free(line);
    answer = ok ? json_loads(reply, 0, NULL) : NULL;
    ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok ? SIM_OK
              : sim_fail(err, SIM_IO, "the file server of '%s' does not do it: %.100s", s->path,
                         reply[0] != '\0' ? reply : "no answer");
}

static json_t *
request_of(const char *op, const struct guid *id)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "op", json_string(op));
    reply_guid(o, "snapshot", id);
    return o;
}

/* ---- where it is ---- */

char *
set_truth(const struct sim_host *h, const struct sim_set *s, const struct guid *snapshot)
{
    char id[GUID_TEXT_SIZE];
    char name[GUID_TEXT_SIZE] = "live";

    guid_format_upper(&s->id, id);
    if (snapshot != NULL) {
        guid_format_upper(snapshot, name);
    }
    return sim_printf("%s/sets/%s/%s.raw", h->cluster->dir, id, name);
}

/* As disk_instance_id(); what stands behind a vm's own disks on the controller. */
char *
set_instance_id(const struct sim_set *s, const struct sim_node *n)
{
    char vm[GUID_TEXT_SIZE];
    char slot[GUID_TEXT_SIZE];

    guid_format_upper(&n->vm, vm);
    guid_format_upper(&n->slot_id, slot);
    return sim_printf("Microsoft:%s\\%s\\1\\%u\\D", vm, slot, (unsigned)(n - s->nodes));
}

/* ---- making and writing ---- */

static uint32_t
make_live(struct sim_host *h, const struct sim_set *s, struct sim_error *err)
{
    char *live = set_truth(h, s, NULL);
    char *folder = sim_strdup(live);
    char *root = sim_printf("%s/sets", h->cluster->dir);
    uint32_t rc = sim_mkdir(root, err);
    int fd;

    *strrchr(folder, '/') = '\0';
    if (rc == SIM_OK) {
        rc = sim_mkdir(folder, err);
    }
    if (rc == SIM_OK) {
        fd = open(live, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        rc = fd >= 0 ? sim_truncate(fd, s->size, live, err)
                     : sim_fail_errno(err, errno, "opening '%s'", live);
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    free(live);
    free(folder);
    free(root);
    return rc;
}

uint32_t
set_create(struct sim_host *h, const struct set_spec *spec, struct guid *id, struct sim_error *err)
{
    struct sim_set s = {.size = spec->size};
    struct sim_host *node = NULL;
    json_t *request;
    uint32_t rc = SIM_OK;

    if (spec->vm_count == 0 || spec->vm_count > SIM_NODES_MAX || spec->size == 0 ||
        spec->size % 512 != 0 || strlen(spec->path) >= sizeof(s.path) ||
        strlen(spec->control) >= sizeof(s.control) || set_of_path(h, spec->path) != NULL) {
        return sim_fail(err, SIM_INVALID, "a set has a path of its own, whole sectors, 1 to %u vms",
                        SIM_NODES_MAX);
    }
    sim_random_guid(&h->random, &s.id);
    (void)snprintf(s.path, sizeof(s.path), "%s", spec->path);
    (void)snprintf(s.control, sizeof(s.control), "%s", spec->control);
    for (size_t i = 0; rc == SIM_OK && i < spec->vm_count; i++) {
        rc = find_vm_host(h, &spec->vms[i], &node, NULL, err);
        s.nodes[i].vm = spec->vms[i];
        sim_random_guid(&h->random, &s.nodes[i].slot_id);
        s.node_count++;
    }
    if (rc == SIM_OK) {
        rc = make_live(h, &s, err);
    }
    if (rc == SIM_OK) {
        request = json_object();
        (void)json_object_set_new(request, "op", json_string("set"));
        reply_guid(request, "disk", &s.id);
        (void)json_object_set_new(request, "size", json_integer((json_int_t)s.size));
        rc = tell_server(&s, request, err);
    }
    if (rc == SIM_OK) {
        *(struct sim_set *)sim_array_add(&h->cluster->sets, &h->cluster->set_count, sizeof(s)) = s;
        *id = s.id;
        rc = cluster_save(h, err);
    }
    return rc;
}

static uint32_t
write_step(const struct sim_set *s, int fd, const uint8_t *p, size_t len, uint64_t off,
           struct sim_error *err)
{
    char *data = base64_encode(p, len);
    json_t *request = json_object();
    uint32_t rc;

    (void)json_object_set_new(request, "op", json_string("write"));
    (void)json_object_set_new(request, "offset", json_integer((json_int_t)off));
    (void)json_object_set_new(request, "data", json_string(data));
    free(data);
    rc = tell_server(s, request, err);
    return rc == SIM_OK ? sim_pwrite(fd, p, len, off, s->path, err) : rc;
}

uint32_t
set_write(struct sim_host *h, const struct guid *set, const struct guid *vm,
          const struct sim_extent *extents, size_t count, uint64_t seed, struct sim_error *err)
{
    struct sim_set *s = NULL;
    uint8_t *buf = NULL;
    char *live = NULL;
    int fd = -1;
    uint32_t rc = find_set(h, set, &s, err);

    if (rc == SIM_OK && !set_has(s, vm)) {
        rc = sim_fail(err, SIM_INVALID, "this vm does not have the set");
    }
    for (size_t i = 0; rc == SIM_OK && i < count; i++) {
        if (extents[i].length == 0 || extents[i].offset % 512 != 0 ||
            extents[i].length % 512 != 0 || extents[i].offset > s->size ||
            extents[i].length > s->size - extents[i].offset) {
            rc = sim_fail(err, SIM_INVALID, "extent %zu is not in whole sectors of the set", i);
        }
    }
    if (rc != SIM_OK) {
        return rc;
    }
    live = set_truth(h, s, NULL);
    fd = open(live, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", live);
    }
    buf = sim_alloc(WRITE_STEP);
    for (size_t i = 0; rc == SIM_OK && i < count; i++) {
        for (uint64_t at = 0; rc == SIM_OK && at < extents[i].length; at += WRITE_STEP) {
            uint64_t left = extents[i].length - at;
            size_t n = left < WRITE_STEP ? (size_t)left : WRITE_STEP;

            sim_random_fill(buf, n, seed, extents[i].offset + at);
            rc = write_step(s, fd, buf, n, extents[i].offset + at, err);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(buf);
    free(live);
    return rc;
}

/* ---- snapshots ---- */

uint32_t
set_snapshot(struct sim_host *h, struct sim_set *s, const struct guid *id, struct sim_error *err)
{
    char *live = set_truth(h, s, NULL);
    char *frozen = set_truth(h, s, id);
    struct sim_snapshot *snap;
    uint32_t rc = sim_copy_sparse(live, frozen, err);

    if (rc == SIM_OK) {
        rc = tell_server(s, request_of("snapshot", id), err);
    }
    if (rc == SIM_OK) {
        snap = sim_array_add(&s->snapshots, &s->snapshot_count, sizeof(*snap));
        snap->id = *id;
        snap->created_us = time_now_us();
    } else {
        (void)unlink(frozen);
    }
    free(live);
    free(frozen);
    return rc;
}

uint32_t
set_snapshot_delete(struct sim_set *s, const struct guid *id, bool keep, struct sim_error *err)
{
    for (size_t i = 0; i < s->snapshot_count; i++) {
        json_t *request;
        uint32_t rc;

        if (!guid_equal(&s->snapshots[i].id, id)) {
            continue;
        }
        request = request_of("delete", id);
        (void)json_object_set_new(request, "keep", json_boolean(keep));
        rc = tell_server(s, request, err);
        if (rc == SIM_OK && keep) {
            s->snapshots[i].reference = true;
        } else if (rc == SIM_OK) {
            sim_array_remove(s->snapshots, &s->snapshot_count, sizeof(s->snapshots[0]), i);
        }
        return rc;
    }
    return SIM_OK; /* somebody deleted it */
}
