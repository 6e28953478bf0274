/* SPDX-License-Identifier: Apache-2.0 */
#include "main_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "gc/reserve.h"
#include "ingest/ingest.h"
#include "jobs/patrol.h"
#include "jobs/state_copier.h"
#include "jobs/tenants.h"
#include "os/path.h"
#include "sched/keeper.h"
#include "sched/sched.h"
#include "state/state.h"
#include "store/store_secret.h"
#include "wire/access.h"

#define SOCKET_NAME "collector.sock"
/* A host is away so long before its vm counts as moved to another that lists it. */
#define AWAY_MS_MAX 30000u
/* sockaddr_un holds 108 bytes on Linux. */
#define SOCKET_PATH_MAX 100u

/* ---- folders and keys ---- */

static enum varve_err
open_folders(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    const char *store = strncmp(conf->store, "dir:", 4) == 0 ? conf->store + 4 : conf->store;
    enum varve_err rc;

    rc = fs_mkdir_parents(fs_system(), conf->state_dir, err);
    if (rc == VARVE_OK) {
        rc = fs_mkdir_parents(fs_system(), store, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    p->state_dir = realpath(conf->state_dir, NULL);
    if (p->state_dir == NULL) {
        return varve_error_errno(err, errno, "looking for '%s'", conf->state_dir);
    }
    p->store_path = realpath(store, NULL);
    if (p->store_path == NULL) {
        return varve_error_errno(err, errno, "looking for '%s'", store);
    }
    if (strlen(p->state_dir) + sizeof(SOCKET_NAME) > SOCKET_PATH_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the state folder's path '%s' is too long for the operator's socket "
                               "in it (%u bytes); choose a shorter --state-dir",
                               p->state_dir, SOCKET_PATH_MAX);
    }
    if (conf->store_key != NULL) {
        p->store_key = strdup(conf->store_key);
        return p->store_key == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    return path_join(&p->store_key, p->state_dir, "store.key", err);
}

static enum varve_err
open_identity(struct parts *p, struct varve_error *err)
{
    char *path = NULL;
    enum varve_err rc = path_join(&path, p->state_dir, "collector.key", err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = identity_load(&p->own, fs_system(), path, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = identity_generate(&p->own, err);
        if (rc == VARVE_OK) {
            rc = identity_save(p->own, fs_system(), path, err);
        }
        if (rc == VARVE_OK) {
            log_info("main",
                     "made the collector's own key '%s' (0600): agents know the collector "
                     "by it, keep a copy in a safe place",
                     path);
        }
    }
    free(path);
    return rc;
}

static enum varve_err
make_access(struct parts *p, const char *address, struct access *out, struct varve_error *err)
{
    struct access a;
    enum varve_err rc;

    memset(&a, 0, sizeof(a));
    (void)snprintf(a.address, sizeof(a.address), "%s", address);
    memcpy(a.collector, identity_public(p->own), IDENTITY_KEY_SIZE);
    rc = identity_generate(&a.key, err);
    if (rc == VARVE_OK) {
        rc = access_save(&a, fs_system(), p->access_path, err);
    }
    if (rc != VARVE_OK) {
        access_release(&a);
        return rc;
    }
    p->access_was_made = true;
    log_info("main", "made the operator's access file '%s' (0600): whoever has it is operator",
             p->access_path);
    *out = a;
    return VARVE_OK;
}

/* The file says where our socket is: a state folder that was moved must not leave it wrong. */
static enum varve_err
move_access(struct parts *p, const char *address, struct access *a, struct varve_error *err)
{
    enum varve_err rc;

    if (strncmp(a->address, "ipc://", 6) != 0 || strcmp(a->address, address) == 0) {
        return VARVE_OK;
    }
    (void)snprintf(a->address, sizeof(a->address), "%s", address);
    rc = fs_remove(fs_system(), p->access_path, err);
    return rc == VARVE_OK ? access_save(a, fs_system(), p->access_path, err) : rc;
}

/* operator_key: the public half of what the access file holds. */
static enum varve_err
open_access(struct parts *p, uint8_t operator_key[IDENTITY_KEY_SIZE], struct varve_error *err)
{
    char address[SOCKET_PATH_MAX + 16];
    struct access a;
    enum varve_err rc;

    memset(&a, 0, sizeof(a));
    (void)snprintf(address, sizeof(address), "ipc://%s/%s", p->state_dir, SOCKET_NAME);
    rc = path_join(&p->access_path, p->state_dir, "operator.access", err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = access_load(&a, fs_system(), p->access_path, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = make_access(p, address, &a, err);
    } else if (rc == VARVE_OK &&
               memcmp(a.collector, identity_public(p->own), IDENTITY_KEY_SIZE) != 0) {
        rc =
            varve_error_set(err, VARVE_ERR_INVALID,
                            "'%s' belongs to another collector; move it away and a new one is made",
                            p->access_path);
    } else if (rc == VARVE_OK) {
        rc = move_access(p, address, &a, err);
    }
    if (rc == VARVE_OK) {
        memcpy(operator_key, identity_public(a.key), IDENTITY_KEY_SIZE);
    }
    access_release(&a);
    return rc;
}

/* ---- the store ---- */

static enum varve_err
open_store(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    struct chunk_store_options options = {.key_path = p->store_key,
                                          .chunk_size = (uint32_t)conf->chunk_size};
    struct store_secret *secret = NULL;
    char *index = NULL;
    enum varve_err rc = path_join(&index, p->state_dir, "index", err);

    if (rc == VARVE_OK && conf->store_passphrase_file != NULL) {
        rc = store_secret_load(&secret, fs_system(), STORE_SECRET_PASSPHRASE,
                               conf->store_passphrase_file, err);
    }
    if (rc != VARVE_OK) {
        free(index);
        return rc;
    }
    options.secret = secret;
    options.index_path = index;
    rc = store_dir_open(&p->objects, fs_system(), p->store_path, err);
    if (rc == VARVE_OK) {
        rc = chunk_store_open(&p->c.chunks, p->objects, fs_system(), &options, err);
    }
    if (rc == VARVE_OK && chunk_store_key_was_made(p->c.chunks)) {
        log_info("main",
                 "made the key of the store '%s' (0600): without it no backup can be read, "
                 "keep a copy in a safe place",
                 p->store_key);
    }
    if (rc == VARVE_OK) {
        rc = catalog_open(&p->c.catalog, p->c.chunks, err);
    }
    if (rc == VARVE_OK) {
        rc = gc_open(&p->gc, p->c.chunks, p->c.catalog, err); /* before anything is published */
    }
    store_secret_free(secret);
    free(index);
    return rc;
}

static enum varve_err
open_state(struct parts *p, struct varve_error *err)
{
    char *path = NULL;
    enum varve_err rc = path_join(&path, p->state_dir, "state.db", err);

    if (rc == VARVE_OK) {
        rc = state_open(&p->c.state, fs_system(), path, err);
    }
    free(path);
    return rc;
}

/* When the newest point was published: it is later than that. */
static enum varve_err
newest_point(struct parts *p, int64_t *out, struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(p->c.catalog, NULL, &points, &count, err);

    *out = 0;
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        *out = points[i]->published_at_us > *out ? points[i]->published_at_us : *out;
    }
    if (rc == VARVE_OK) {
        catalog_list_free(points, count);
    }
    return rc;
}

static enum varve_err
open_keeper(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    const struct keeper_options options = {.collect_every_ms = conf->collect_every,
                                           .bytes_per_second = conf->collect_rate};
    int64_t newest = 0;
    char *path = NULL;
    enum varve_err rc = newest_point(p, &newest, err);

    if (rc == VARVE_OK) {
        rc = path_join(&path, p->state_dir, "time", err);
    }
    if (rc == VARVE_OK) {
        rc = store_time_open(&p->time, fs_system(), path, &store_clocks_system, newest, err);
    }
    free(path);
    path = NULL;
    if (rc == VARVE_OK) {
        rc = path_join(&path, p->state_dir, "reserve", err);
    }
    if (rc == VARVE_OK) {
        rc = reserve_open(&p->reserve, fs_system(), path, err);
    }
    free(path);
    if (rc == VARVE_OK) {
        gc_set_reserve(p->gc, p->reserve);
        rc = keeper_new(&p->c.keeper, p->c.chunks, p->c.catalog, p->gc, p->time, &options, err);
    }
    return rc;
}

static enum varve_err
open_patrol(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    struct patrol_options options = {
        .fs = fs_system(), .age_ms = conf->verify_age, .bytes_per_second = conf->verify_rate};
    char *path = NULL;
    enum varve_err rc = path_join(&path, p->state_dir, "patrol", err);

    if (rc == VARVE_OK) {
        options.path = path;
        rc = patrol_new(&p->c.patrol, p->c.chunks, p->c.catalog, p->c.ingest, &options, err);
    }
    free(path);
    return rc;
}

static int64_t
collector_time(void *arg)
{
    return store_time_now(arg);
}

static enum varve_err
open_service(struct parts *p, const struct collector_conf *conf,
             const uint8_t operator_key[IDENTITY_KEY_SIZE], struct varve_error *err)
{
    struct ingest_options ingest = {.grace_ms = (uint32_t)conf->run_grace,
                                    .silence_ms = (uint32_t)conf->run_silence};
    struct sched_options sched = {.runs = (unsigned)conf->runs,
                                  .runs_per_host = (unsigned)conf->runs_per_host,
                                  .runs_per_volume = (unsigned)conf->runs_per_volume,
                                  .away_ms = conf->run_grace / 2 < AWAY_MS_MAX
                                                 ? (uint32_t)(conf->run_grace / 2)
                                                 : AWAY_MS_MAX};
    struct sched_port port;
    enum varve_err rc;

    rc = open_keeper(p, conf, err);
    if (rc == VARVE_OK) {
        rc = tenants_adopt(p->c.state, p->c.chunks, err);
    }
    if (rc == VARVE_OK) {
        rc = quotas_new(&p->c.quotas, p->c.state, p->c.catalog, err);
    }
    if (rc == VARVE_OK) {
        ingest.quotas = p->c.quotas;
        sched.quotas = p->c.quotas;
        rc = ingest_new(&p->c.ingest, p->c.chunks, p->c.catalog, &ingest, err);
    }
    if (rc == VARVE_OK) {
        rc = open_patrol(p, conf, err);
    }
    if (rc == VARVE_OK) {
        rc = registry_new(&p->c.registry, &p->c, p->own, operator_key, err);
    }
    if (rc == VARVE_OK) {
        port = registry_sched_port(p->c.registry);
        rc = sched_new(&p->c.sched, p->c.ingest, p->c.catalog, p->c.state, &sched, &port, err);
    }
    if (rc == VARVE_OK) {
        rc = state_copier_new(&p->copier, p->c.state, p->c.chunks, p->own, collector_time, p->time,
                              err);
    }
    return rc;
}

enum varve_err
parts_open(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    uint8_t operator_key[IDENTITY_KEY_SIZE];
    enum varve_err rc;

    memset(p, 0, sizeof(*p));
    rc = open_folders(p, conf, err);
    if (rc == VARVE_OK) {
        rc = open_state(p, err); /* first: keeps a second collector out of all the rest */
    }
    if (rc == VARVE_OK) {
        rc = open_identity(p, err);
    }
    if (rc == VARVE_OK) {
        rc = open_access(p, operator_key, err);
    }
    if (rc == VARVE_OK) {
        rc = open_store(p, conf, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    p->options = (struct collector_options){.store = p->store_path,
                                            .key_path = p->store_key,
                                            .workers = (unsigned)conf->workers,
                                            .credit_bytes = (uint32_t)conf->credit,
                                            .sessions = (uint32_t)conf->sessions,
                                            .started_at_us = time_now_us()};
    p->c.options = &p->options;
    return open_service(p, conf, operator_key, err);
}

enum varve_err
parts_listen(struct parts *p, const struct collector_conf *conf, struct varve_error *err)
{
    char socket_url[SOCKET_PATH_MAX + 16];
    enum varve_err rc;

    (void)snprintf(socket_url, sizeof(socket_url), "ipc://%s/%s", p->state_dir, SOCKET_NAME);
    rc = registry_listen(p->c.registry, socket_url, err);
    for (size_t i = 0; rc == VARVE_OK; i++) {
        char *url = NULL;

        rc = collector_conf_listen(conf, i, &url, err);
        if (rc != VARVE_OK || url == NULL) {
            break;
        }
        rc = registry_listen(p->c.registry, url, err);
        free(url);
    }
    return rc;
}

void
parts_close(struct parts *p)
{
    if (p->c.registry != NULL) {
        registry_stop(p->c.registry);
    }
    sched_free(p->c.sched);
    registry_free(p->c.registry);
    patrol_free(p->c.patrol);
    ingest_free(p->c.ingest);
    quotas_free(p->c.quotas);
    state_copier_free(p->copier); /* nobody changes the state any more */
    keeper_free(p->c.keeper);
    gc_close(p->gc);
    reserve_close(p->reserve);
    store_time_close(p->time);
    catalog_close(p->c.catalog);
    chunk_store_close(p->c.chunks);
    store_close(p->objects);
    state_close(p->c.state);
    identity_free(p->own);
    free(p->state_dir);
    free(p->store_path);
    free(p->access_path);
    free(p->store_key);
    memset(p, 0, sizeof(*p));
}
