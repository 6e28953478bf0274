/* SPDX-License-Identifier: Apache-2.0 */
#include "enrolment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/path.h"
#include "service.h"
#include "uplink/uplink.h"

#define MAGIC       "varve-enrolment-1"
#define FILE_MAX    4096u
#define KEY_NAME    "agent.key"
#define FILE_NAME   "enrolment"
#define ENROL_MS    20000u
#define HEX_KEY_LEN (IDENTITY_KEY_SIZE * 2)

/* ---- the file ---- */

static bool
parse_hex(uint8_t *out, size_t len, const char *text)
{
    size_t i;

    if (strlen(text) != len * 2) {
        return false;
    }
    for (i = 0; i < len * 2; i++) {
        char c = text[i];
        unsigned v;

        if (c >= '0' && c <= '9') {
            v = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            v = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        out[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
    }
    return true;
}

/* "<key> <value>\n" at *at; moves *at behind it. */
static bool
take_line(const char **at, const char *key, char *value, size_t cap)
{
    size_t key_len = strlen(key);
    const char *end = strchr(*at, '\n');
    size_t len;

    if (end == NULL || strncmp(*at, key, key_len) != 0 || (*at)[key_len] != ' ') {
        return false;
    }
    len = (size_t)(end - *at) - key_len - 1;
    if (len == 0 || len >= cap) {
        return false;
    }
    memcpy(value, *at + key_len + 1, len);
    value[len] = '\0';
    *at = end + 1;
    return true;
}

enum varve_err
enrolment_parse(struct enrolment *out, const uint8_t *text, size_t len, struct varve_error *err)
{
    char copy[FILE_MAX + 1];
    char hex[HEX_KEY_LEN + 1];
    char guid[GUID_TEXT_SIZE];
    const char *at = copy;
    struct enrolment e;

    memset(&e, 0, sizeof(e));
    if (len > FILE_MAX || memchr(text, '\0', len) != NULL) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "it is no enrolment");
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strncmp(at, MAGIC "\n", sizeof(MAGIC)) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "it does not begin with '%s'", MAGIC);
    }
    at += sizeof(MAGIC);
    if (!take_line(&at, "address", e.address, sizeof(e.address)) ||
        !take_line(&at, "collector", hex, sizeof(hex)) ||
        !parse_hex(e.collector, sizeof(e.collector), hex) ||
        !take_line(&at, "host", guid, sizeof(guid)) || !guid_parse(&e.host, guid) ||
        !take_line(&at, "name", e.name, sizeof(e.name)) || *at != '\0') {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a line is missing, wrong or too many");
    }
    *out = e;
    return VARVE_OK;
}

static enum varve_err
enrolment_save(const struct enrolment *e, struct fs *fs, const char *path, struct varve_error *err)
{
    char hex[HEX_KEY_LEN + 1];
    char guid[GUID_TEXT_SIZE];
    char text[FILE_MAX];
    size_t i;
    int n;

    for (i = 0; i < IDENTITY_KEY_SIZE; i++) {
        (void)snprintf(hex + i * 2, 3, "%02x", e->collector[i]);
    }
    guid_format(&e->host, guid);
    n = snprintf(text, sizeof(text), MAGIC "\naddress %s\ncollector %s\nhost %s\nname %s\n",
                 e->address, hex, guid, e->name);
    return fs_write_durable(fs, path, text, (size_t)n, true, err);
}

enum varve_err
enrolment_load(struct enrolment *out, struct identity **key, struct fs *fs, const char *state_dir,
               struct varve_error *err)
{
    uint8_t *text = NULL;
    char *path = NULL;
    char *key_path = NULL;
    size_t len = 0;
    enum varve_err rc;

    rc = path_join(&path, state_dir, FILE_NAME, err);
    if (rc == VARVE_OK) {
        rc = path_join(&key_path, state_dir, KEY_NAME, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_read_all(fs, path, FILE_MAX, &text, &len, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                                 "this host is not enrolled ('%s' is not there): get a token with "
                                 "'varve host invite NAME' and give it to 'varve-agent enroll'",
                                 path);
        }
    }
    if (rc == VARVE_OK) {
        rc = enrolment_parse(out, text, len, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "enrolment '%s'", path);
        }
    }
    if (rc == VARVE_OK) {
        rc = identity_load(key, fs, key_path, err);
    }
    free(text);
    free(path);
    free(key_path);
    return rc;
}

/* ---- enrolling ---- */

static enum varve_err
check_not_enrolled(struct fs *fs, const char *state_dir, const char *path, struct varve_error *err)
{
    struct file_stat st;
    struct varve_error why;

    if (fs_stat(fs, path, &st, &why) == VARVE_OK) {
        return varve_error_set(err, VARVE_ERR_EXISTS,
                               "'%s' holds an enrolment already: remove that folder to enrol this "
                               "host anew, or give another --state-dir",
                               state_dir);
    }
    return VARVE_OK;
}

/* The key is made once and stays when an enrolment fails: *was_there. */
static enum varve_err
get_key(struct identity **out, struct fs *fs, const char *path, bool *was_there,
        struct varve_error *err)
{
    enum varve_err rc = identity_load(out, fs, path, err);

    *was_there = rc == VARVE_OK;
    if (rc != VARVE_ERR_NOT_FOUND) {
        return rc;
    }
    rc = identity_generate(out, err);
    if (rc == VARVE_OK) {
        rc = identity_save(*out, fs, path, err);
        if (rc != VARVE_OK) {
            identity_free(*out);
            *out = NULL;
        }
    }
    return rc;
}

static enum varve_err
greet(const struct access_token *token, const struct identity *key, bool key_was_there,
      const char *software, struct uplink_welcome *out, struct varve_error *err)
{
    char host_name[SERVICE_NAME_MAX];
    char system[SERVICE_NAME_MAX];
    struct uplink_options options = {
        .address = token->address,
        .collector = token->collector,
        .identity = key,
        .software = software,
        .system = system,
        .host_name = host_name,
    };
    struct varve_error why;
    enum varve_err rc;

    service_host_name(host_name);
    service_system(system);
    rc = uplink_greet(&options, &token->secret, ENROL_MS, out, err);
    /* The collector may have taken the key before a crash kept us from writing that down. */
    if (rc == VARVE_ERR_AUTH && key_was_there &&
        uplink_greet(&options, NULL, ENROL_MS, out, &why) == VARVE_OK) {
        return VARVE_OK;
    }
    if (rc == VARVE_ERR_AUTH) {
        return varve_error_prefix(err, "the invitation was refused (used, expired or withdrawn?); "
                                       "'varve host invite' gives another");
    }
    return rc;
}

enum varve_err
enrolment_make(struct fs *fs, const char *state_dir, const char *token_text, const char *software,
               struct varve_error *err)
{
    struct access_token token;
    struct uplink_welcome welcome;
    struct enrolment e;
    struct identity *key = NULL;
    char *path = NULL;
    char *key_path = NULL;
    bool key_was_there = false;
    enum varve_err rc;

    rc = access_token_parse(&token, token_text, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "the token");
    }
    rc = access_token_check_time(&token, time_now_us(), err);
    if (rc == VARVE_OK) {
        rc = path_join(&path, state_dir, FILE_NAME, err);
    }
    if (rc == VARVE_OK) {
        rc = path_join(&key_path, state_dir, KEY_NAME, err);
    }
    if (rc == VARVE_OK) {
        rc = check_not_enrolled(fs, state_dir, path, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_mkdir_parents(fs, state_dir, err);
    }
    if (rc == VARVE_OK) {
        rc = get_key(&key, fs, key_path, &key_was_there, err);
    }
    if (rc == VARVE_OK) {
        rc = greet(&token, key, key_was_there, software, &welcome, err);
    }
    if (rc == VARVE_OK) {
        memset(&e, 0, sizeof(e));
        (void)snprintf(e.address, sizeof(e.address), "%s", token.address);
        memcpy(e.collector, token.collector, sizeof(e.collector));
        e.host = welcome.host_id;
        (void)snprintf(e.name, sizeof(e.name), "%s", welcome.host_name);
        rc = enrolment_save(&e, fs, path, err);
    }
    if (rc == VARVE_OK) {
        (void)printf("enrolled as '%s' with %s; the state is in '%s'\n", e.name, e.address,
                     state_dir);
    }
    crypto_wipe(&token, sizeof(token));
    identity_free(key);
    free(path);
    free(key_path);
    return rc;
}
