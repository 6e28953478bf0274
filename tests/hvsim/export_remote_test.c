/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/export_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Runs by exports of another host's vms: the folder is a share, which the host and the agent call the same and each finds in its own
 * way, and the host's own files are out of the agent's reach.  Under Wine, with a machine of its own: tests/wine/41-export-remote.sh.
 */
#define SERVER "hv07"
#define SHARE  "\\\\files\\exports"

/* The agent's files: the share is the lab's folder, and there is nothing else. */
struct share_fs {
    struct fs base;
    struct fs_ops ops;
    const char *folder;
    bool away;
};

static struct share_fs share;

/* Where it is; NULL: the server is away. */
static char *
reach(const char *path, struct varve_error *err)
{
    size_t len = strlen(SHARE);
    char *out;
    char *p;

    assert_int_equal(strncmp(path, SHARE, len), 0); /* else a path of the host's, or of nobody */
    if (share.away) {
        (void)varve_error_set(err, VARVE_ERR_IO, "'%s': the server is away", path);
        return NULL;
    }
    out = sim_printf("%s%s", share.folder, path + len);
    for (p = out; *p != '\0'; p++) {
        *p = *p == '\\' ? '/' : *p;
    }
    return out;
}

static enum varve_err
share_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
           struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? file_open(fs_system(), out, real, mode, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

static enum varve_err
share_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? fs_stat(fs_system(), real, out, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

static enum varve_err
share_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? fs_remove(fs_system(), real, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

static enum varve_err
share_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? fs_mkdir(fs_system(), real, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

static enum varve_err
share_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
           void *arg, struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? fs_list(fs_system(), real, cb, arg, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

static enum varve_err
share_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    char *real = reach(path, err);
    enum varve_err rc = real != NULL ? fs_free_bytes(fs_system(), real, out, err) : err->code;

    (void)fs;
    free(real);
    return rc;
}

/* ---- the host: where it finds the share, and whether it answers ---- */

struct remote_link {
    struct hv_link host;
    const char *folder;
    bool vanishes; /* as soon as an export was begun */
    bool gone;
    unsigned exports;
};

/* In the request's JSON the path stands with each '\' doubled. */
static char *
to_host(const struct remote_link *r, const char *line)
{
    static const char told[] = "\\\\\\\\files\\\\exports";
    const char *at = strstr(line, told);
    char *out;
    char *p;

    if (at == NULL) {
        return sim_strdup(line);
    }
    out = sim_printf("%.*s%s%s", (int)(at - line), line, r->folder, at + strlen(told));
    p = strstr(out, r->folder) + strlen(r->folder);
    assert_int_equal(strncmp(p, "\\\\varve-", 8), 0);
    memmove(p, p + 1, strlen(p));
    *p = '/';
    return out;
}

static char *
remote_exchange(void *arg, const char *line)
{
    struct remote_link *r = arg;
    char *real;
    char *reply;

    if (r->gone) {
        return NULL;
    }
    real = to_host(r, line);
    reply = r->host.exchange(r->host.arg, real);
    free(real);
    if (strstr(line, "checkpoint.export") != NULL) {
        r->exports++;
        if (r->vanishes) {
            r->gone = true;
            free(reply);
            return NULL;
        }
    }
    return reply;
}

static void
remote_open(struct export_lab *l, struct remote_link *r)
{
    export_lab_open(l);
    share = (struct share_fs){.ops = *fs_system()->ops, .folder = l->folder};
    share.base.ops = &share.ops;
    share.ops.open = share_open;
    share.ops.stat = share_stat;
    share.ops.remove = share_remove;
    share.ops.mkdir = share_mkdir;
    share.ops.list = share_list;
    share.ops.free_bytes = share_free_bytes;
    *r = (struct remote_link){.host = l->hv.script.link, .folder = l->folder};
    l->hv.script.link.exchange = remote_exchange;
    l->hv.script.link.arg = r;
    l->busy_ms = 50;
    l->server = SERVER;
    l->share = "//files/exports";
    capture_close(l->capture);
    export_lab_capture(l, &share.base);
}

static void
remote_close(struct export_lab *l, const struct remote_link *r)
{
    l->hv.script.link = r->host;
    export_lab_close(l);
}

static void
a_host_without_an_agent_is_backed_up_by_another_machine(void **state)
{
    struct capture_inventory inv;
    struct peer_fake_seen seen;
    struct varve_error err;
    struct remote_link r;
    struct export_lab l;

    (void)state;
    remote_open(&l, &r);
    assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
    assert_string_equal(inv.provider, "Hyper-V of " SERVER ", by WMI export");
    capture_inventory_release(&inv);
    export_lab_write(&l);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_non_null(strstr(seen.how, "of host " SERVER));
    export_lab_write(&l);
    export_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    assert_in_range(seen.read_bytes[0], 65536, 131072);
    remote_close(&l, &r);
}

/* The rest of a chunk is on a drive of the host that has no share. */
static void
what_is_out_of_reach_is_exported_as_a_whole(void **state)
{
    struct peer_fake_seen seen;
    struct remote_link r;
    struct sim_error err;
    struct export_lab l;
    unsigned i;

    (void)state;
    remote_open(&l, &r);
    for (i = 0; i < 2; i++) {
        export_lab_vm(&l)->disks[i].granularity = 4096;
        must_work(tracking_set(l.hv.host, &l.hv.vm, &l.hv.disks[i], SIM_TRACKING_LOST, &err));
    }
    export_lab_write(&l);
    export_lab_good_run(&l);
    r.exports = 0;
    export_lab_write(&l);
    export_lab_good_run(&l);
    assert_int_equal(r.exports, 2);
    peer_fake_seen(l.job.fake, &seen);
    assert_false(seen.incremental[0] || seen.incremental[1]);
    assert_non_null(strstr(seen.reason[0], "out of reach"));
    remote_close(&l, &r);
}

/* In the middle of an export, for longer than anybody waits; what it left goes when it is there again. */
static void
a_host_that_goes_away_is_named_and_cleaned_up_when_it_is_back(void **state)
{
    int dies;

    (void)state;
    for (dies = 0; dies < 2; dies++) {
        struct varve_error err;
        struct remote_link r;
        struct export_lab l;

        remote_open(&l, &r);
        export_lab_write(&l);
        export_lab_good_run(&l);
        export_lab_write(&l);
        r.vanishes = true;
        assert_err(lab_run(&l.job, &err), VARVE_ERR_CLOSED, &err);
        assert_true(export_lab_folders(&l) == 1);
        assert_int_equal(refpoint_lab_checkpoints(&l.hv), 1);
        assert_err(lab_run(&l.job, &err), VARVE_ERR_CLOSED, &err); /* nor is another run begun */
        r.vanishes = false;
        r.gone = false;
        if (dies != 0) {
            peer_fake_reconnect(l.job.fake);
            capture_close(l.capture);
            export_lab_capture(&l, &share.base);
            lab_recover(&l.job);
            export_lab_check_clean(&l, 1);
        }
        export_lab_good_run(&l);
        remote_close(&l, &r);
    }
}

static void
a_share_that_is_away_fails_the_run_and_leaves_nothing_on_the_host(void **state)
{
    struct varve_error err;
    struct remote_link r;
    struct export_lab l;

    (void)state;
    remote_open(&l, &r);
    export_lab_write(&l);
    export_lab_good_run(&l);
    share.away = true;
    assert_err(lab_run(&l.job, &err), VARVE_ERR_IO, &err);
    assert_non_null(strstr(err.msg, "the server is away"));
    share.away = false;
    export_lab_check_clean(&l, 1);
    export_lab_good_run(&l);
    remote_close(&l, &r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_without_an_agent_is_backed_up_by_another_machine),
        cmocka_unit_test(what_is_out_of_reach_is_exported_as_a_whole),
        cmocka_unit_test(a_host_that_goes_away_is_named_and_cleaned_up_when_it_is_back),
        cmocka_unit_test(a_share_that_is_away_fails_the_run_and_leaves_nothing_on_the_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
