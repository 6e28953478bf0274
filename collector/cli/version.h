/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_VERSION_H
#define VARVE_CLI_VERSION_H

#ifndef VARVE_VERSION
#error "the build says which version this is"
#endif

#endif
