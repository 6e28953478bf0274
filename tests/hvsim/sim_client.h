/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SIM_CLIENT_H
#define HVSIM_SIM_CLIENT_H

#include <stdbool.h>

#include <jansson.h>

/*
 * A connection to a simulated host.  Threads: one.
 */
struct sim_client;

/* NULL with errno set when nobody listens. */
struct sim_client *sim_client_open(const char *socket_path);
void sim_client_close(struct sim_client *c); /* NULL is fine */

/*
 * One call.  parameters is an object, borrowed and left unchanged, or NULL.  The reply is the
 * caller's to json_decref(); NULL: the connection broke.
 */
json_t *sim_client_call(struct sim_client *c, const char *op, const json_t *parameters);

/* One line to one line, which is the caller's to free(); NULL: the connection broke. */
char *sim_client_exchange(struct sim_client *c, const char *line);

/* As sim_client_call(), and when the reply has a job, the job.get of its end instead. */
json_t *sim_client_job(struct sim_client *c, const char *op, const json_t *parameters);

/* "ok", and of a job's end: completed. */
bool sim_reply_ok(const json_t *reply);

#endif
