/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/session.h"

/* What is no longer wanted: space given back, counts checked, the clock that retention goes by. */

static json_t *
json_collect(const Varve__V1__StoreCollectReply *r)
{
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "points_removed",
        json_bytes(r->points_removed), "points_counted", json_bytes(r->points_counted),
        "packs_looked_at", json_bytes(r->packs_looked_at), "packs_removed",
        json_bytes(r->packs_removed), "packs_moved", json_bytes(r->packs_moved), "packs_waiting",
        json_bytes(r->packs_waiting), "packs_young", json_bytes(r->packs_young), "nodes_unread",
        json_bytes(r->nodes_unread), "bytes_freed", json_bytes(r->bytes_freed), "bytes_copied",
        json_bytes(r->bytes_copied), "bytes_read", json_bytes(r->bytes_read), "bytes_written",
        json_bytes(r->bytes_written), "index_operations", json_bytes(r->index_operations),
        "no_space", r->no_space ? 1 : 0, "blocked",
        r->blocked == NULL ? json_null() : json_text(r->blocked->message));
}

static enum varve_err
print_collect(struct cli *cli, const Varve__V1__StoreCollectReply *r, struct varve_error *err)
{
    FILE *out = cli->env->out;
    char freed[PRINT_SIZE_TEXT];
    char copied[PRINT_SIZE_TEXT];

    if (cli->json) {
        enum varve_err rc = print_json_line(out, json_collect(r), err);

        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (r->blocked != NULL) {
        (void)session_wire_error(r->blocked, err);
        return err->code == VARVE_OK ? varve_error_set(err, VARVE_ERR_CORRUPT, "blocked")
                                     : err->code;
    }
    if (cli->json || cli->quiet) {
        return VARVE_OK;
    }
    print_size(cli, r->bytes_freed, freed);
    print_size(cli, r->bytes_copied, copied);
    (void)fprintf(out,
                  "%s given back: %" PRIu64 " points, %" PRIu64 " packs removed; %s moved out of "
                  "%" PRIu64 " packs\n",
                  freed, r->points_removed, r->packs_removed, copied, r->packs_moved);
    if (r->packs_waiting > 0 || r->packs_young > 0) {
        (void)fprintf(out, "%" PRIu64 " packs wait for backups that go on\n",
                      r->packs_waiting + r->packs_young);
    }
    if (r->nodes_unread > 0) {
        (void)fprintf(out,
                      "%" PRIu64 " manifest nodes that no point needs any more cannot be read: "
                      "what they name stays until they can, or the index is built anew\n",
                      r->nodes_unread);
    }
    if (r->no_space) {
        (void)fputs("packs with little left stay: there is no room to move what is in them\n", out);
    }
    return VARVE_OK;
}

enum varve_err
cmd_store_collect(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCollect collect = VARVE__V1__STORE_COLLECT__INIT;
    struct progress progress;
    struct session *s = NULL;
    const char *rate = cli_value(cli, "--rate");
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_number(cli, "--move-below", &collect.move_percent, err);

    if (rc == VARVE_OK && rate != NULL) {
        rc = cli_rate(rate, &collect.bytes_per_second, err);
    }
    if (rc == VARVE_OK) {
        rc = cli_session(cli, &s, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    progress_init(&progress, cli);
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_COLLECT;
    request.store_collect = &collect;
    rc = session_send(s, &request, &id, err);
    while (rc == VARVE_OK && more) {
        const Varve__V1__StoreCollectReply *reply;
        char freed[PRINT_SIZE_TEXT];
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_STORE_COLLECT_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        reply = in.head->store_collect_reply;
        if (more) {
            print_size(cli, reply->bytes_freed, freed);
            progress_draw(&progress, false, "collect: %" PRIu64 " packs looked at, %s given back",
                          reply->packs_looked_at, freed);
        } else {
            progress_clear(&progress);
            rc = print_collect(cli, reply, err);
        }
        envelope_release(&in);
    }
    progress_clear(&progress);
    return rc;
}

enum varve_err
cmd_store_check_counts(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCheckCounts check = VARVE__V1__STORE_CHECK_COUNTS__INIT;
    const Varve__V1__StoreCheckCountsReply *r = NULL;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS;
    request.store_check_counts = &check;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    r = in.head->store_check_counts_reply;
    if (cli->json) {
        rc = print_json_line(cli->env->out,
                             json_pack("{s:o,s:o,s:o,s:o,s:o,s:b}", "points", json_bytes(r->points),
                                       "names", json_bytes(r->names), "missing",
                                       json_bytes(r->missing), "extra", json_bytes(r->extra),
                                       "nodes_unread", json_bytes(r->nodes_unread), "at_least",
                                       r->at_least),
                             err);
    }
    if (rc == VARVE_OK && r->missing == 0 && r->extra > 0 && r->nodes_unread > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%s%" PRIu64 " counts are too high, none too low: %" PRIu64
                             " manifest nodes that no point needs any more cannot be read; bring "
                             "their packs back from a copy, or remove the index ('varve store "
                             "rebuild')",
                             r->at_least ? "at least " : "", r->extra, r->nodes_unread);
    } else if (rc == VARVE_OK && r->missing + r->extra > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%s%" PRIu64 " counts are too low, %" PRIu64 " too high: stop the "
                             "collector, remove the folder 'index' of its state, start it again",
                             r->at_least ? "at least " : "", r->missing, r->extra);
    } else if (rc == VARVE_OK && !cli->json && !cli->quiet) {
        (void)fprintf(cli->env->out,
                      "the counts of %" PRIu64 " names in %" PRIu64 " points are right\n", r->names,
                      r->points);
    }
    envelope_release(&in);
    return rc;
}

enum varve_err
cmd_store_clock(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreClock clock = VARVE__V1__STORE_CLOCK__INIT;
    const Varve__V1__StoreClockReply *r = NULL;
    struct session *s = NULL;
    struct envelope_in in;
    char text[32];
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    clock.confirm = cli_value(cli, "--confirm") != NULL;
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CLOCK;
    request.store_clock = &clock;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_STORE_CLOCK_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    r = in.head->store_clock_reply;
    if (cli->json) {
        rc = print_json_line(
            cli->env->out,
            json_pack("{s:o,s:o,s:o}", "time", json_time(r->time_us), "clock",
                      json_time(r->clock_us), "doubt",
                      r->doubt == NULL ? json_null() : json_text(r->doubt->message)),
            err);
    } else if (!cli->quiet) {
        print_time(r->time_us, text);
        print_field(cli, "time", text);
        print_time(r->clock_us, text);
        print_field(cli, "clock", text);
    }
    if (rc == VARVE_OK && r->doubt != NULL) {
        rc = session_wire_error(r->doubt, err);
    }
    envelope_release(&in);
    return rc;
}
