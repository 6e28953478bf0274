/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/store_early_ack.h"
#include "fault/store_late.h"
#include "index/index_state.h"

/* Opening, closing, cutting, killing, and the folder of the index, which is on the machine's own file
 * system: LMDB writes by itself. */

/* ---- the folder of the index ---- */

static const char *const index_files[] = {"index.mdb", "state", "quarantine", "doubt"};
#define INDEX_FILES (sizeof(index_files) / sizeof(index_files[0]))

static void
forget_index(const char *folder)
{
    struct varve_error err;
    char path[512];

    for (size_t i = 0; i < INDEX_FILES; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, index_files[i]);
        (void)!fs_remove(fs_system(), path, &err);
    }
    (void)snprintf(path, sizeof(path), "%s/index.mdb-lock", folder);
    (void)!fs_remove(fs_system(), path, &err);
}

static void
write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0) {
        abort();
    }
}

/* What another process finds after this one was killed here: what was written, synced or not. */
static void
copy_index(const char *from, const char *to)
{
    struct varve_error err;
    char path[512];

    forget_index(to);
    for (size_t i = 0; i < INDEX_FILES; i++) {
        uint8_t *data = NULL;
        size_t len = 0;

        (void)snprintf(path, sizeof(path), "%s/%s", from, index_files[i]);
        if (fs_read_all(fs_system(), path, 256u << 20, &data, &len, &err) != VARVE_OK) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", to, index_files[i]);
        write_file(path, data, len);
        free(data);
    }
}

/* After a power cut: another boot, pages in any state, the quarantine up to somewhere. */
static void
cut_index(struct model *m)
{
    static const char state[] = "varve-index-1\ndirty\nanother-boot\n0\n";
    struct varve_error err;
    uint8_t *data = NULL;
    char path[512];
    size_t len = 0;

    (void)snprintf(path, sizeof(path), "%s/index.mdb", m->index);
    if (fs_read_all(fs_system(), path, 256u << 20, &data, &len, &err) == VARVE_OK) {
        for (size_t at = 0; at + 4096 <= len; at += 4096) {
            if (below(m, 3) == 0) {
                memset(data + at, 0, 4096);
            }
        }
        write_file(path, data, len);
        free(data);
    }
    data = NULL;
    (void)snprintf(path, sizeof(path), "%s/quarantine", m->index);
    if (fs_read_all(fs_system(), path, 1u << 20, &data, &len, &err) == VARVE_OK) {
        write_file(path, data, below(m, (unsigned)len + 1));
        free(data);
    }
    (void)snprintf(path, sizeof(path), "%s/state", m->index);
    write_file(path, state, sizeof(state) - 1);
}

/* A kill leaves what the folder holds at this moment. */
void
catch_index(void *model)
{
    struct model *m = model;

    if (m->index != NULL) {
        copy_index(m->index, m->cut_index);
    }
}

/* ---- open and close ---- */

void
end_runs(struct model *m)
{
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        if (m->running[vm]) {
            lab_run_end(&m->runs[vm]);
        }
        m->running[vm] = false;
    }
}

static int64_t
model_now(void *arg)
{
    return ((const struct model *)arg)->now_us;
}

/* A secret that does not open the store is refused, and nothing is touched. */
static void
try_wrong_secret(struct model *m)
{
    struct recipient *r = &m->secrets[below(m, MODEL_SECRETS)];
    struct chunk_store_options options = {
        .index_path = m->index, .secret = r->secret, .chunk_size = LAB_CHUNK, .put_threads = 1};
    struct chunk_store *cs = NULL;
    struct store *dir = NULL;
    struct varve_error err;
    uint64_t calls;
    enum varve_err rc;

    if (r->d.may != NOWHERE || r->d.later != 0) {
        return;
    }
    rc = store_dir_open(&dir, fault_fs(m->ff), "/data/store", &err);
    if (rc != VARVE_OK) {
        violation(m, "opening the folder: %s", err.msg);
        return;
    }
    calls = fault_fs_calls(m->ff, FAULT_CHANGES);
    rc = chunk_store_open(&cs, dir, fault_fs(m->ff), &options, &err);
    if (rc != VARVE_ERR_AUTH) {
        violation(m, "a wrong secret: %d %s", (int)rc, rc == VARVE_OK ? "it opens" : err.msg);
    } else if (fault_fs_calls(m->ff, FAULT_CHANGES) != calls) {
        violation(m, "a wrong secret changed the store");
    }
    m->counts->refused++;
    chunk_store_close(cs);
    store_close(dir);
}

void
model_open(struct model *m)
{
    struct store *(*wrap)(struct store *) = NULL;
    struct varve_error err;

    if (m->seq->broken == LATE_REMOVE) {
        wrap = late_remove_store;
    } else if (m->seq->broken == EARLY_ACK) {
        wrap = early_ack_store;
    }
    if (lab_open_secret(&m->l, fault_fs(m->ff), "/data", m->index, a_secret(m)->secret, wrap,
                        &err) != VARVE_OK) {
        violation(m, "open: %s", err.msg);
        lab_close(&m->l);
        return;
    }
    catalog_set_clock(m->l.catalog, model_now, m);
    look_at_domains(m);
    look_at_secrets(m);
    look_at_policies(m);
}

void
model_close(struct model *m)
{
    end_runs(m);
    lab_close(&m->l);
}

/* What is there now is on the disk. */
static void
nothing_later(struct model *m)
{
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            m->table[vm][n].d.later = 0;
        }
    }
    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        m->secrets[i].d.later = 0;
    }
    for (unsigned i = 0; i < MODEL_DOMAINS; i++) {
        m->domains[i].later = 0;
    }
}

static void
later_is_now(struct model *m)
{
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            m->table[vm][n].d.may |= m->table[vm][n].d.later;
        }
    }
    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        m->secrets[i].d.may |= m->secrets[i].d.later;
    }
    for (unsigned i = 0; i < MODEL_DOMAINS; i++) {
        m->domains[i].may |= m->domains[i].later;
    }
}

void
reopen(struct model *m, enum end end)
{
    struct varve_error err;

    end_runs(m);
    if (end != END_PEACE && !fault_fs_is_cut(m->ff)) {
        catch_index(m);
        fault_fs_on_cut(m->ff, NULL, NULL);
        fault_fs_cut_at(m->ff, 1); /* not even the close gets through */
    }
    lab_close(&m->l);
    if (end == END_CUT) {
        mem_fs_power_cut(m->mem, test_random_next(&m->random));
        later_is_now(m);
        m->counts->cuts++;
    }
    if (end == END_CUT && m->index != NULL) {
        cut_index(m);
    }
    if (end == END_CUT || m->index == NULL) {
        m->older = false;
    }
    if (end == END_KILL && m->index != NULL) {
        copy_index(m->cut_index, m->index);
    }
    m->counts->kills += end == END_KILL ? 1 : 0;
    if (fault_fs_set(m->ff, NULL, &err) != VARVE_OK) {
        violation(m, "%s", err.msg);
    }
    fault_fs_on_cut(m->ff, catch_index, m);
    m->armed = false;
    try_wrong_secret(m);
    model_open(m);
    if (!m->bad) {
        compare(m, true);
    }
    if (end == END_CUT) {
        nothing_later(m);
    }
    if (!m->bad && (end == END_CUT || m->index == NULL)) {
        rot_is_forgotten(m);
    }
}

/* ---- other states of the index ---- */

void
step_keep_index(struct model *m)
{
    if (m->index != NULL) {
        copy_index(m->index, m->old_index);
        m->have_old = true;
    }
}

static void
rebuild(struct model *m)
{
    struct offline_rebuild_result result;
    struct offline_options options = {
        .fs = fault_fs(m->ff), .folder = "/data/store", .secret = offline_secret_of(a_secret(m))};
    struct varve_error err;

    if (offline_rebuild(&options, m->index, &result, &err) != VARVE_OK) {
        violation(m, "rebuilding the index: %s", err.msg);
    }
    saw(m, result.packs);
    m->counts->rebuilds++;
}

void
step_other_index(struct model *m)
{
    unsigned how = below(m, 3);

    if (m->index == NULL || m->armed) {
        return;
    }
    model_close(m);
    if (how == 0) {
        forget_index(m->index);
        m->older = false;
    } else if (how == 1 && m->have_old) {
        copy_index(m->old_index, m->index);
        m->older = true;
    } else {
        rebuild(m);
        m->older = false;
    }
    model_open(m);
    if (!m->bad) {
        compare(m, true);
    }
    if (!m->bad) {
        full_mark(m);
    }
    if (!m->bad && how < 2) {
        rot_is_forgotten(m);
    }
}
