/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_XML_SCAN_H
#define VARVE_WMI_XML_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/*
 * XML as Windows services write it, element by element: embedded instances of WMI, documents of VSS.  Own code,
 * because what is needed is this much: no DTD, no namespaces, no encodings but UTF-8 (whoever has UTF-16
 * converts it before), the five named entities and numbers.  Nothing is allocated; tokens point into the text.
 *
 * What is not well-formed in a way that matters is VARVE_ERR_PROTOCOL; whether elements are closed in order, and
 * how deep they may be, is the caller's to check.
 */
enum xml_token_kind { XML_END_OF_TEXT, XML_OPEN, XML_CLOSE, XML_TEXT };

struct xml_token {
    enum xml_token_kind kind;
    const char *name; /* of an element; not terminated */
    size_t name_len;
    const char *attributes;
    size_t attributes_len;
    bool empty;       /* <x/>: an end follows that is not told */
    bool raw;         /* text of CDATA */
    const char *text; /* as it stands, entities and all */
    size_t text_len;
};

struct xml_scan {
    const char *p;
    const char *end;
};

/* A NUL ends the text too. */
void xml_scan_init(struct xml_scan *s, const char *text, size_t len);
/* Declarations and comments are passed over. */
VARVE_CHECK enum varve_err xml_next(struct xml_scan *s, struct xml_token *t,
                                    struct varve_error *err);
bool xml_is(const struct xml_token *t, const char *name);

/* The value of an attribute, "" when it is not there; one that does not fit in size, with its NUL, is
 * VARVE_ERR_LIMIT. */
VARVE_CHECK enum varve_err xml_attribute(const struct xml_token *t, const char *name, char *out,
                                         size_t size, struct varve_error *err);
/* Text with its entities replaced; raw: as it stands. */
VARVE_CHECK enum varve_err xml_append_text(struct buf *b, const char *p, size_t len, bool raw,
                                           struct varve_error *err);

#endif
