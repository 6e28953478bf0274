/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index.h"

enum varve_err
index_get(struct index *ix, const struct record_name *names, size_t count, struct index_place *out,
          uint8_t *found, struct varve_error *err)
{
    enum varve_err rc = ix->ops->get(ix, names, count, out, found, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "looking names up in the index");
}

enum varve_err
index_add_pack(struct index *ix, const struct index_pack *pack, const struct pack_entry *entries,
               struct varve_error *err)
{
    enum varve_err rc = ix->ops->add_pack(ix, pack, entries, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "adding a pack to the index");
}

enum varve_err
index_drop_packs(struct index *ix, const struct pack_id *ids, size_t count, struct varve_error *err)
{
    enum varve_err rc = ix->ops->drop_packs(ix, ids, count, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "dropping packs from the index");
}

enum varve_err
index_mark_damaged(struct index *ix, const struct record_name *name,
                   const struct index_place *place, struct varve_error *err)
{
    enum varve_err rc = ix->ops->mark_damaged(ix, name, place, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "marking damage in the index");
}

enum varve_err
index_list_packs(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                 struct varve_error *err)
{
    enum varve_err rc = ix->ops->list_packs(ix, cb, arg, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "listing the packs of the index");
}

enum varve_err
index_apply(struct index *ix, struct index_change *change, struct varve_error *err)
{
    enum varve_err rc = ix->ops->apply(ix, change, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "counting references");
}

enum varve_err
index_ref_get(struct index *ix, enum chunk_kind kind, const struct record_name *names, size_t count,
              uint32_t *out, struct varve_error *err)
{
    enum varve_err rc = ix->ops->ref_get(ix, kind, names, count, out, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading reference counts");
}

enum varve_err
index_ref_scan(struct index *ix, enum chunk_kind kind,
               bool (*cb)(void *arg, const uint8_t *key, size_t key_len, uint32_t count), void *arg,
               struct varve_error *err)
{
    enum varve_err rc = ix->ops->ref_scan(ix, kind, cb, arg, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading all reference counts");
}

enum varve_err
index_row_scan(struct index *ix, const void *prefix, size_t prefix_len, bool backwards,
               bool (*cb)(void *arg, const void *key, size_t key_len, const void *value,
                          size_t value_len),
               void *arg, struct varve_error *err)
{
    enum varve_err rc = ix->ops->row_scan(ix, prefix, prefix_len, backwards, cb, arg, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading rows of the index");
}

enum varve_err
index_list_marked(struct index *ix, bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                  struct varve_error *err)
{
    enum varve_err rc = ix->ops->list_marked(ix, cb, arg, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "listing packs to look at");
}

enum varve_err
index_mark_packs(struct index *ix, const struct index_pack *packs, size_t count,
                 struct varve_error *err)
{
    enum varve_err rc = count == 0 ? VARVE_OK : ix->ops->mark_packs(ix, packs, count, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "marking packs in the index");
}

enum varve_err
index_drop_entries(struct index *ix, const struct pack_id *id, const struct pack_entry *entries,
                   size_t count, uint64_t *operations, struct varve_error *err)
{
    enum varve_err rc = ix->ops->drop_entries(ix, id, entries, count, operations, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "dropping a pack from the index");
}

enum varve_err
index_build_begin(struct index *ix, uint64_t packs, struct varve_error *err)
{
    enum varve_err rc =
        ix->ops->build_begin == NULL ? VARVE_OK : ix->ops->build_begin(ix, packs, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "building the index");
}

enum varve_err
index_build_end(struct index *ix, struct varve_error *err)
{
    enum varve_err rc = ix->ops->build_end == NULL ? VARVE_OK : ix->ops->build_end(ix, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "building the index");
}

enum varve_err
index_check(struct index *ix, struct cancel *cancel, struct varve_error *err)
{
    return ix->ops->check == NULL ? VARVE_OK : ix->ops->check(ix, cancel, err);
}

void
index_get_stats(struct index *ix, struct index_stats *out)
{
    ix->ops->stats(ix, out);
}

void
index_close(struct index *ix)
{
    if (ix != NULL) {
        ix->ops->close(ix);
    }
}
