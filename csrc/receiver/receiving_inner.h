/* The inside of a pull: pull.c (the pump) and pull_dest.c (the destination). Owner: receiver. */
#ifndef PS_PULL_H
#define PS_PULL_H
#include "output/output.h"
#include "nominate/swarm.h"

#include "api/receiving_api.h"

/* main.c:get_local_name, check_alt_basis_dirs and do_recv's checks, once the first list is there. *root is NULL where a dry
 * run finds no destination. PS_OK or PS_FAIL. */
int receiving_destination(ps_ctx *c, ps_flists *all, const char *dest, ps_root **root);

#endif
