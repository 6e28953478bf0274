/* SPDX-License-Identifier: Apache-2.0 */
#include "store/object_scrub.h"

#include <string.h>

#include "store/chunk_record.h"
#include "store/key_ring.h"
#include "store/pack.h"
#include "store/store_config.h"

/* Records first. */
#define RECORDS 7u
#define LOST    "lost/"
static const char *const kinds[] = {"point/",      "hold/",           "lock/",        "gone/",
                                    "cfg/domain/", "policy/",         "state/",       "pack/",
                                    LOST,          STORE_CONFIG_NAME, KEY_RING_PREFIX};

const char *
object_kind(size_t i)
{
    return i < sizeof(kinds) / sizeof(kinds[0]) ? kinds[i] : NULL;
}

bool
object_is_record(const char *name)
{
    bool is = false;

    name += strncmp(name, LOST, sizeof(LOST) - 1) == 0 ? sizeof(LOST) - 1 : 0;
    for (size_t i = 0; i < RECORDS; i++) {
        is = is || strncmp(name, kinds[i], strlen(kinds[i])) == 0;
    }
    return is;
}

enum varve_err
object_scrub(const char *name, const uint8_t *bytes, size_t len, struct varve_error *err)
{
    struct store_config config;
    struct pack_id id;
    size_t records = 0;

    if (pack_object_name_parse(&id, name)) {
        return pack_scrub(bytes, len, &id, &records, NULL, NULL, err);
    }
    if (strcmp(name, STORE_CONFIG_NAME) == 0) {
        return store_config_decode(&config, bytes, len, err);
    }
    if (strncmp(name, KEY_RING_PREFIX, sizeof(KEY_RING_PREFIX) - 1) == 0) {
        return key_ring_scrub(bytes, len, err);
    }
    return object_is_record(name) ? chunk_record_scrub(bytes, len, err) : VARVE_OK;
}
