/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_client.h"

static int
print_reply(json_t *reply)
{
    bool ok = sim_reply_ok(reply);
    char *text = NULL;

    (void)json_object_del(reply, "id");
    (void)json_object_del(reply, "ok");
    text = json_dumps(reply, JSON_COMPACT);
    (void)puts(text != NULL ? text : "{}");
    free(text);
    return ok ? 0 : 1;
}

int
ctl_call(const char *socket_path, const char *op, const char *json, bool wait)
{
    json_error_t bad;
    json_t *parameters = json_loads(json, 0, &bad);
    struct sim_client *c = NULL;
    json_t *reply = NULL;
    int code = 2;

    if (!json_is_object(parameters)) {
        (void)fprintf(stderr, "hvsim ctl: the parameters are no JSON object: %s\n", bad.text);
        goto out;
    }
    c = sim_client_open(socket_path);
    if (c == NULL) {
        (void)fprintf(stderr, "hvsim ctl: '%s': %s\n", socket_path, strerror(errno));
        goto out;
    }
    reply = wait ? sim_client_job(c, op, parameters) : sim_client_call(c, op, parameters);
    if (reply == NULL) {
        (void)fputs("hvsim ctl: the host hung up\n", stderr);
        goto out;
    }
    code = print_reply(reply);
out:
    json_decref(reply);
    json_decref(parameters);
    sim_client_close(c);
    return code;
}
