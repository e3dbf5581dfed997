/* The inside of the receiving side: receiving.c (the pump) and destination.c. */
#ifndef PS_RECEIVING_INNER_H
#include "fs/option_paths.h"
#define PS_RECEIVING_INNER_H
#include "output/output.h"
#include "nominate/swarm.h"
#include "receiver/receiver.h"
#include "render/render.h"
#include "wire/messages.h"

#include "api/receiving_api.h"

/* main.c:get_local_name, check_alt_basis_dirs and do_recv's checks, once the first list is there. *root is NULL where a dry
 * run finds no destination. PS_OK or PS_FAIL. */
int receiving_destination(ps_ctx *c, ps_flists *all, ps_rules *rules, const char *dest, ps_root **root);

#endif
