/* The inside of the receiving side: receiving.c (the pump), drive.c (the pump of a local copy) and destination.c. */
#ifndef PS_RECEIVING_INNER_H
#define PS_RECEIVING_INNER_H
#include "fs/option_paths.h"
#include "generator/sums_ahead.h"
#include "output/output.h"
#include "nominate/swarm.h"
#include "receiver/receiver.h"
#include "render/render.h"
#include "wire/local.h"
#include "wire/messages.h"

#include "api/receiving_api.h"

typedef enum {
    RECEIVING_BEGIN,
    RECEIVING_FIRST,      /* the first list */
    RECEIVING_SECOND_NDX, /* inc_recurse: a list of one directory says nothing yet of how many entries come */
    RECEIVING_SECOND,
    RECEIVING_RUN,
    RECEIVING_OVER        /* the remote has said its last */
} receiving_stage;

struct ps_receiving {
    ps_ctx *c;
    ps_flists *all;
    ps_flist_decoder *decoder;
    ps_rules *rules;
    ps_root *root;
    ps_gen *gen;
    ps_sums_ahead *sums_ahead;     /* NULL: not with -c */
    ps_recv *recv;
    ps_mux_in in;
    ps_mux_out out;
    ps_ndx_state ndx_in, ndx_out;
    receiving_stage stage;
    char *dest;
    u8 *buffer;
    ps_swarm *swarm;     /* NULL: a classic session */
    ps_buf frames;       /* u32 length, bytes: of the extension, not yet events */
    ps_local *local;     /* drive.c: a local copy's; NULL else */
    bool feeding;        /* drive.c: the last feed is not used up */
    bool behind;         /* ps_receiving_write_behind */
    bool done, failed, nothing; /* nothing: the list was empty, there is no goodbye */
    /* --list-only: what the generator would do */
    ps_flist *listed;    /* the list that comes next; NULL before the first */
    int list_phase;
};

/* main.c:get_local_name, check_alt_basis_dirs and do_recv's checks, once the first list is there. *root is NULL where a dry
 * run finds no destination. PS_OK or PS_FAIL. */
int receiving_destination(ps_ctx *c, ps_flists *all, ps_rules *rules, const char *dest, ps_root **root);

#endif
