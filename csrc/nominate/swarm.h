/* The client's side of nominate/1: job table, digest requests, local search, requests to sources, delivery.
 * Design: a file joins the swarm only with its digest answer in hand; a byte reaches a final name only verified. */
#ifndef PS_SWARM_H
#define PS_SWARM_H
#include "generator/generator.h"
#include "output/output.h"

#include "api/frames_api.h"
#include "api/limits_api.h"
#include "api/swarm_api.h"

/* What the swarm needs of the session; all of it outlives the swarm. */
typedef struct ps_swarm_parts {
    ps_ctx *c;
    ps_flists *all;
    ps_gen *gen;
    ps_outs *outs;
    ps_root *dest;
    ps_mux_out *out;
} ps_swarm_parts;

ps_swarm *swarm_new(const ps_swarm_parts *parts);
void swarm_free(ps_swarm *s);

#endif
