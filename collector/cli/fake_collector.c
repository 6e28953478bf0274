/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_testing.h"
#include "wire/access.h"

void
fake_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "fake_collector: %s: %s\n", what, why);
    abort();
}

static void
must(enum varve_err rc, const struct varve_error *err, const char *what)
{
    if (rc != VARVE_OK) {
        fake_die(what, err->msg);
    }
}

/* ---- sending ---- */

void
fake_send_bulk(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body,
               bool more, const void *bulk, size_t len)
{
    struct aead_part part = {.data = bulk, .len = len};
    struct varve_error err;

    a->id = t->request->id + (t->f->script.lie == FAKE_WRONG_ID && t->request->id > 1);
    a->reply = 1;
    a->more = more;
    a->body_case = body;
    if (envelope_send(t->ch, a, &part, len > 0 ? 1 : 0, &err) != VARVE_OK) {
        t->alive = false;
    }
}

void
fake_send(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body, bool more)
{
    fake_send_bulk(t, a, body, more, NULL, 0);
}

void
fake_send_error(struct turn *t, enum varve_err code, const char *message)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error error = VARVE__V1__ERROR__INIT;
    char text[240];

    (void)snprintf(text, sizeof(text), "%s", message);
    error.code = (uint32_t)code;
    error.message = text;
    a.error = &error;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_ERROR, false);
}

/* ---- conversations ---- */

static void
converse(struct fake_collector *f, struct channel *ch)
{
    struct turn t = {.f = f, .ch = ch, .alive = true};
    struct envelope_in in;
    struct varve_error err;

    while (t.alive && envelope_recv(ch, &in, &err) == VARVE_OK) {
        t.request = in.head;
        fake_answer(&t);
        envelope_release(&in);
    }
}

static enum channel_verdict
decide(void *arg, const uint8_t peer_key[IDENTITY_KEY_SIZE], const uint8_t *secret_id,
       uint8_t secret[32])
{
    struct fake_collector *f = arg;

    (void)secret;
    return secret_id == NULL && memcmp(peer_key, f->operator_key, IDENTITY_KEY_SIZE) == 0
               ? CHANNEL_ACCEPT
               : CHANNEL_REFUSE;
}

static void
serve(void *arg)
{
    struct fake_collector *f = arg;
    const struct channel_policy policy = {.decide = decide, .arg = f};
    struct channel_pending *pending = NULL;
    struct varve_error err;

    while (channel_listener_accept(f->listener, &pending, &err) == VARVE_OK) {
        struct channel *ch = NULL;
        bool enrolled = false;
        bool stopping;

        if (channel_pending_finish(pending, &ch, &policy, &enrolled, &err) != VARVE_OK) {
            continue;
        }
        mutex_lock(&f->lock);
        f->channel = ch;
        stopping = f->stopping;
        mutex_unlock(&f->lock);
        if (!stopping) {
            converse(f, ch);
        }
        mutex_lock(&f->lock);
        f->channel = NULL;
        mutex_unlock(&f->lock);
        channel_close(ch);
    }
}

struct fake_collector *
fake_start(const struct fake_script *script)
{
    struct fake_collector *f = calloc(1, sizeof(*f));
    struct access access;
    struct varve_error err;
    char url[256];

    if (f == NULL) {
        fake_die("calloc", "no memory");
    }
    memset(&access, 0, sizeof(access));
    f->script = *script;
    mutex_init(&f->lock);
    must(crypto_init(&err), &err, "crypto");
    f->folder = test_folder_make();
    f->access_path = test_path(f->folder, "operator.access");
    must(identity_generate(&f->own, &err), &err, "identity");
    must(identity_generate(&access.key, &err), &err, "identity");
    memcpy(f->operator_key, identity_public(access.key), IDENTITY_KEY_SIZE);
    (void)snprintf(url, sizeof(url), "ipc://%s/sock", f->folder);
    must(channel_listener_open(&f->listener, url, f->own, &err), &err, "listener");
    (void)snprintf(access.address, sizeof(access.address), "%s", url);
    memcpy(access.collector, identity_public(f->own), IDENTITY_KEY_SIZE);
    must(access_save(&access, fs_system(), f->access_path, &err), &err, "access");
    access_release(&access);
    must(thread_start(&f->thread, "fake", serve, f, &err), &err, "thread");
    return f;
}

const char *
fake_access_path(const struct fake_collector *f)
{
    return f->access_path;
}

const char *
fake_folder(const struct fake_collector *f)
{
    return f->folder;
}

const char *
fake_last_text(struct fake_collector *f)
{
    return f->text;
}

void
fake_stop(struct fake_collector *f)
{
    channel_listener_stop(f->listener);
    mutex_lock(&f->lock);
    f->stopping = true;
    if (f->channel != NULL) {
        channel_abort(f->channel);
    }
    mutex_unlock(&f->lock);
    thread_join(&f->thread);
    channel_listener_close(f->listener);
    identity_free(f->own);
    test_folder_remove(f->folder);
    free(f->access_path);
    mutex_destroy(&f->lock);
    free(f);
}
