/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

/*
 * Each name goes to a leaf of its own.  Where the tree is larger than the page cache may be, the leaves are read
 * before the transaction, by several threads at once, and not one after the other while the only writer waits.
 */
#define AHEAD_THREADS 8u
#define AHEAD_MIN     64u /* names */

struct ahead {
    struct index_lmdb *x;
    const struct pack_entry *const *sorted;
    uint32_t count;
    struct thread thread;
};

static int
ahead_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    const struct ahead *a = arg;

    for (uint32_t i = 0; i < a->count; i++) {
        MDB_val key = lmdb_key_of(&a->sorted[i]->name);
        MDB_val v;
        int r = mdb_get(txn, x->name, &key, &v);

        if (r != 0 && r != MDB_NOTFOUND) {
            return r;
        }
    }
    return 0;
}

static void
read_part(void *arg)
{
    struct ahead *a = arg;
    struct varve_error ignored; /* the write comes upon it too */

    (void)!lmdb_run_read(a->x, ahead_txn, a, &ignored);
}

void
lmdb_read_ahead(struct index_lmdb *x, const struct pack_entry *const *sorted, uint32_t count)
{
    struct ahead parts[AHEAD_THREADS];
    uint32_t each = count / AHEAD_THREADS + 1;
    unsigned started = 0;
    struct varve_error ignored;
    MDB_envinfo info;
    MDB_stat st;
    bool small;

    if (count < AHEAD_MIN || !lmdb_gate_enter(x)) { /* both calls look into the map */
        return;
    }
    small = mdb_env_info(x->env, &info) != 0 || mdb_env_stat(x->env, &st) != 0 ||
            info.me_last_pgno * (uint64_t)st.ms_psize < x->ahead_bytes;
    lmdb_gate_leave(x);
    if (small) {
        return;
    }
    for (uint32_t at = 0; at < count; at += each) {
        struct ahead *a = &parts[started];

        *a = (struct ahead){
            .x = x, .sorted = sorted + at, .count = count - at < each ? count - at : each};
        if (thread_start(&a->thread, "index-ahead", read_part, a, &ignored) != VARVE_OK) {
            break;
        }
        started++;
    }
    for (unsigned i = 0; i < started; i++) {
        thread_join(&parts[i].thread);
    }
}
