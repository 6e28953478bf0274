/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WINE_STANDIN_LINK_H
#define VARVE_WINE_STANDIN_LINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <windows.h>

#include <oleauto.h>

/*
 * What the stand-ins share: the way to `hvsim ports`.  The environment's VARVE_STANDIN_PORT says where on loopback it
 * listens.  (The one for secur32.dll asks sspi_testd.py, by VARVE_SSPI_PORT.)
 *
 * Threads: all calls from many threads at once.
 */

/*
 * One call; takes request, an object with "op" and its parameters.  NULL and *number when it was
 * refused or is not answered (0x800706BA).  payload: where the bytes behind a reply go, room of them.
 */
json_t *standin_ask(json_t *request, void *payload, size_t room, uint32_t *number);

/* A text for SysFreeString(), and one for free(). */
BSTR standin_bstr(const char *text);
char *standin_utf8(const wchar_t *text);

#endif
