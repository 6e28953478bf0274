/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_FAKE_INTERNAL_H
#define VARVE_CLI_FAKE_INTERNAL_H

#include "cli/fake_collector.h"

#include "os/thread.h"
#include "wire/channel.h"
#include "wire/envelope.h"

/* fake_collector.c holds the conversations, fake_answers.c and fake_restore.c what is said in them. */
struct fake_collector {
    struct fake_script script;
    char *folder;
    char *access_path;
    struct identity *own;
    uint8_t operator_key[IDENTITY_KEY_SIZE];
    struct channel_listener *listener;
    struct thread thread;
    unsigned reads;

    struct mutex lock; /* text, channel */
    char text[256];
    struct channel *channel; /* in use, to be ended by fake_stop() */
    bool stopping;
};

/* One request being answered. */
struct turn {
    struct fake_collector *f;
    struct channel *ch;
    const Varve__V1__Envelope *request;
    bool alive;
};

VARVE_NORETURN void fake_die(const char *what, const char *why);

void fake_send_bulk(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body,
                    bool more, const void *bulk, size_t len);
void fake_send(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body,
               bool more);
void fake_send_error(struct turn *t, enum varve_err code, const char *message);

/* Answers t->request as the script says. */
void fake_answer(struct turn *t);
void fake_fill_point(Varve__V1__PointInfo *p);
void fake_status(struct turn *t);

void fake_restore_open(struct turn *t);
void fake_restore_map(struct turn *t);
void fake_restore_read(struct turn *t);
void fake_restore_close(struct turn *t);

#endif
