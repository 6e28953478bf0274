/* SPDX-License-Identifier: Apache-2.0 */
#include "source/vdisk_port.h"

#include <stddef.h>

void
vdisk_port_close(struct vdisk_port *p)
{
    if (p != NULL) {
        p->ops->close(p);
    }
}
