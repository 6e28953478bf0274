/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"
#include "state/state.h"

/* PointList, PointShow. */

/* Points a reply: a point has at most 256 disks and 64 files, most have two and one. */
#define POINTS_PER_REPLY 64u
#define PARTS_PER_REPLY  512u

static enum varve_err
send_points(struct point **points, size_t count, struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__PointInfo infos[POINTS_PER_REPLY];
    Varve__V1__PointInfo *list[POINTS_PER_REPLY];
    size_t done = 0;
    enum varve_err rc = VARVE_OK;

    do {
        Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__PointListReply body = VARVE__V1__POINT_LIST_REPLY__INIT;
        size_t parts = 0;
        size_t n = 0;

        while (n < POINTS_PER_REPLY && done < count && parts < PARTS_PER_REPLY) {
            rc = op_point_info(&infos[n], points[done], err);
            if (rc != VARVE_OK) {
                break;
            }
            parts += points[done]->disk_count + points[done]->file_count;
            list[n] = &infos[n];
            n++;
            done++;
        }
        if (rc == VARVE_OK) {
            body.points = list;
            body.n_points = n;
            reply.body_case = VARVE__V1__ENVELOPE__BODY_POINT_LIST_REPLY;
            reply.point_list_reply = &body;
            rc = op_reply(sink, &reply, NULL, 0, done < count, err);
        }
        for (size_t i = 0; i < n; i++) {
            op_point_info_release(&infos[i]);
        }
    } while (rc == VARVE_OK && done < count);
    return rc;
}

static bool
is_vm(const struct point *p, const char *selector)
{
    char id[GUID_TEXT_SIZE];
    size_t len = strlen(selector);

    guid_format(&p->vm, id);
    return strcmp(p->vm_name, selector) == 0 || (len >= 4 && strncmp(id, selector, len) == 0);
}

/* A vm that no host has any more is found by what its points say. */
enum varve_err
op_find_vm(const struct collector *c, const char *selector, struct guid *out,
           struct varve_error *err)
{
    struct vm_row *rows = NULL;
    struct point **points = NULL;
    size_t count = 0;
    size_t row = 0;
    struct varve_error later;
    enum varve_err rc;

    rc = state_vm_list(c->state, NULL, NULL, &rows, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = vm_list_select(rows, count, selector, &row, err);
    if (rc == VARVE_OK) {
        *out = rows[row].vm.id;
    }
    vm_list_free(rows, count);
    if (rc != VARVE_ERR_NOT_FOUND ||
        catalog_list(c->catalog, NULL, &points, &count, &later) != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == VARVE_ERR_NOT_FOUND; i++) {
        if (is_vm(points[i], selector)) {
            *out = points[i]->vm;
            rc = VARVE_OK;
        }
    }
    for (size_t i = 0; i < count && rc == VARVE_OK; i++) {
        if (is_vm(points[i], selector) && !guid_equal(&points[i]->vm, out)) {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "'%.64s' means more than one vm; give the first characters of its "
                                 "id",
                                 selector);
        }
    }
    catalog_list_free(points, count);
    return rc;
}

static enum varve_err
list(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    const char *selector = head->point_list->vm;
    struct point **points = NULL;
    struct guid vm;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    (void)slot;
    if (selector[0] != '\0') {
        rc = op_find_vm(c, selector, &vm, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_list(c->catalog, selector[0] != '\0' ? &vm : NULL, &points, &count, err);
    }
    if (rc == VARVE_OK) {
        rc = send_points(points, count, sink, err);
        catalog_list_free(points, count);
    }
    return rc;
}

static enum varve_err
show(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointShowReply body = VARVE__V1__POINT_SHOW_REPLY__INIT;
    Varve__V1__PointInfo info;
    struct point *p = NULL;
    enum varve_err rc;

    (void)slot;
    rc = catalog_select(c->catalog, head->point_show->point, &p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = op_point_info(&info, p, err);
    if (rc == VARVE_OK) {
        body.point = &info;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_POINT_SHOW_REPLY;
        reply.point_show_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, false, err);
        op_point_info_release(&info);
    }
    point_unref(p);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_POINT_LIST, OP_INLINE, list},
    {VARVE__V1__ENVELOPE__BODY_POINT_SHOW, OP_INLINE, show},
};

const struct op_module op_points_module = {.name = "points",
                                           .handlers = handlers,
                                           .handler_count = sizeof(handlers) / sizeof(handlers[0])};
