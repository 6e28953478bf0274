/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WINE_STANDIN_WMI_H
#define VARVE_WINE_STANDIN_WMI_H

#include "wine/standin_link.h"

#define COBJMACROS
#include <wbemcli.h>

#include "wmi/wmi_port.h"

/*
 * WMI of a simulated host as COM objects inside this process: IWbemLocator, IWbemServices,
 * IEnumWbemClassObject, IWbemCallResult, IWbemClassObject and IWbemObjectTextSrc.  Every question goes to
 * `hvsim ports`.  A manifest beside the program gives this DLL out for WMI's classes.
 *
 * A COM object is an array of functions in memory: tables are made at run time, with what is not
 * written here answering E_NOTIMPL.
 */
typedef void (*standin_slot)(void);

#define STANDIN_AT(vtbl, member) (offsetof(vtbl, member) / sizeof(standin_slot))

enum standin_kind {
    STANDIN_FACTORY,
    STANDIN_LOCATOR,
    STANDIN_SERVICES,
    STANDIN_LIST,      /* IEnumWbemClassObject: objects */
    STANDIN_RESULT,    /* IWbemCallResult: one object */
    STANDIN_OBJECT,    /* IWbemClassObject: an instance, or what a method gave: object */
    STANDIN_CLASS,     /* the same: a class, by name */
    STANDIN_SIGNATURE, /* the same: [in] parameters of a method: json */
    STANDIN_ARGUMENTS, /* the same: an instance of one of the two above; json holds what was put */
    STANDIN_WRITER,    /* IWbemObjectTextSrc */
    STANDIN_SECURITY   /* IClientSecurity of `whose`, which is of another machine */
};

struct standin_com {
    const standin_slot *vtable; /* first: this is what a caller sees */
    volatile LONG refs;
    enum standin_kind kind;
    const CLSID *wanted; /* FACTORY */
    char *name;          /* CLASS, and the class of ARGUMENTS; else NULL */
    json_t
        *json; /* LIST: array; RESULT: an object or nothing; SIGNATURE: array; ARGUMENTS: array */
    json_t *types;            /* ARGUMENTS: the signature, or NULL for those of a class */
    size_t at;                /* LIST, OBJECT: how far an enumeration is */
    struct wmi_object object; /* OBJECT */
    bool cluster;             /* SERVICES: of the cluster's namespace */
    bool remote;              /* SERVICES, LIST, RESULT: of another machine */
    bool sealed;              /* and may be called */
    struct standin_com *whose;
};

/* name is copied, json is taken; NULL: no memory. */
struct standin_com *standin_new(enum standin_kind kind, const char *name, json_t *json);
/* An IWbemClassObject of {"properties":...}; borrowed.  NULL when it is none. */
struct standin_com *standin_object(const json_t *j);
HRESULT standin_hresult(uint32_t number);

/* standin_wmi_object.c */
const standin_slot *standin_object_table(void);
const standin_slot *standin_writer_table(void);

/* standin_wmi_remote.c: what a proxy of another machine asks for before it is called, and IWbemLocator's way there */
const standin_slot *standin_security_table(void);
bool standin_may_call(const struct standin_com *c);
/* "\\SERVER\root..." is split: the server, to be freed, and *rest; NULL: "root..." is of this machine. */
char *standin_server(const wchar_t *where, const wchar_t **rest);

/* What every table begins with. */
void standin_table(standin_slot *table, size_t count);

#endif
