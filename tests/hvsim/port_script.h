/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_PORT_SCRIPT_H
#define HVSIM_PORT_SCRIPT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "os/thread.h"

/*
 * What the fakes of both ports share: the way to the simulated host, the log of calls, and what shall
 * go wrong.  The fakes are portable C: the stand-in DLLs are shells around them.
 */

/* One request line to one reply line (the caller frees it); NULL: no answer.  In-process it is
 * dispatch_line(), in a stand-in a connection to the simulator. */
struct hv_link {
    char *(*exchange)(void *arg, const char *line);
    void *arg;
};

enum port_fault {
    PORT_FAULT_BEFORE, /* refused, nothing done */
    PORT_FAULT_AFTER,  /* done, and answered by the error */
    PORT_FAULT_EVENT   /* something happens to the host first; the call meets what that left */
};

struct port_script {
    struct hv_link link;
    struct mutex lock; /* all below */
    char (*log)[96];   /* "wmi CreateSnapshot", "vdisk open" */
    size_t count;
    unsigned nth; /* the call that fails, 1 = the next; 0: none */
    unsigned times;
    char only[96]; /* count only calls that are logged as this; "": all */
    enum port_fault mode;
    uint32_t number; /* HRESULT or Win32 code of the failure; below 65536 a method's ReturnValue */
    bool die;        /* the nth call is the caller's end: it and all later ones fail */
    void (*event)(void *arg); /* PORT_FAULT_EVENT; no lock is held */
    void *event_arg;
    bool *dead; /* set by it; while it is set every call fails.  Not NULL */
    bool own_dead;
    char violation[160]; /* a rule of the API that was broken; "": none */
};

void port_script_init(struct port_script *s, const struct hv_link *link);
void port_script_release(struct port_script *s);
void port_script_clear_log(struct port_script *s);
void port_script_violation(struct port_script *s, const char *fmt, ...) VARVE_PRINTF(2, 3);

/* Adds a line to the log that is no call of a port: nothing of it can fail. */
void port_script_note(struct port_script *s, const char *fmt, ...) VARVE_PRINTF(2, 3);
/* Notes a call.  True: it fails now; *after says that its work is to be done first. */
bool port_script_call(struct port_script *s, bool *after, const char *fmt, ...) VARVE_PRINTF(3, 4);
/* Asks the host; takes params (may be NULL); NULL and *number (0x800706BA: no answer) when refused. */
json_t *port_script_ask(struct port_script *s, const char *op, json_t *params, uint32_t *number,
                        char text[160]);

#endif
