/* SPDX-License-Identifier: Apache-2.0 */
#include "vss/vss_port.h"

#include <stdlib.h>
#include <string.h>

void
vss_port_close(struct vss_port *p)
{
    if (p != NULL) {
        p->ops->close(p);
    }
}

void
vss_session_release(struct vss_session *s)
{
    if (s != NULL) {
        s->ops->release(s);
    }
}

void
vss_writers_release(struct vss_writers *w)
{
    size_t i;

    for (i = 0; i < w->count; i++) {
        free(w->items[i].name);
        free(w->items[i].document);
    }
    free(w->items);
    memset(w, 0, sizeof(*w));
}

void
vss_statuses_release(struct vss_statuses *s)
{
    free(s->items);
    memset(s, 0, sizeof(*s));
}
