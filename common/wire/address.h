/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_ADDRESS_H
#define VARVE_WIRE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include <nng/nng.h>

#define ADDRESS_TEXT_SIZE 160

/* "tcp://10.0.0.1:50422", "tcp://[fe80::1]:50422"; what has no address of its own (an unnamed end of
 * a local socket) gets `otherwise`. */
void address_format(const nng_sockaddr *sa, const char *otherwise, char out[ADDRESS_TEXT_SIZE]);

/*
 * What one sender of connections cannot easily have many of: an IPv4 address, or the first 64 bits
 * of an IPv6 address.  An IPv4 address inside IPv6 counts as IPv4.  False: no such thing (local
 * sockets).
 */
bool address_group(const nng_sockaddr *sa, uint8_t out[8]);

#endif
