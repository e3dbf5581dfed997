/* The receiver: replies of the sender become files. */
#ifndef PS_RECEIVER_H
#define PS_RECEIVER_H
#include "filelist/decoder.h"
#include "generator/generator.h"

typedef struct ps_recv ps_recv;
/* Made after the first list has been decoded (by `decoder`, which goes on with the sub-lists) and the destination is known.
 * ndx: the state of the reading direction, which is the caller's. gen may be NULL with o.list_only. */
ps_recv *recv_new(ps_ctx *c, ps_flists *all, ps_gen *gen, ps_rules *rules, ps_root *dest, ps_flist_decoder *decoder, ps_ndx_state *ndx);
void recv_free(ps_recv *r);  /* aborts the file in progress */
struct ps_outs *recv_outs(ps_recv *r); /* the session's output files: the swarm writes through them as well */
/* Small files may be put in place by threads, while the session goes on. Whoever allows it calls recv_settle before waiting for
 * input: it waits for the files under way; false: there were none. */
void recv_write_behind(ps_recv *r);
bool recv_settle(ps_recv *r);
struct ps_local;
void recv_takes_over(ps_recv *r, struct ps_local *l); /* a local copy: files may be handed over instead of their data */
/* o.read_batch: the receiver lets the generator go on as the batch does; what it puts out is dropped. */
void recv_read_batch(ps_recv *r, ps_mux_out *out, ps_ndx_state *ndx_out);
void recv_abort(ps_recv *r); /* the same at once: an interruption, a timeout, a failure */
/* Consumes the input after the first file list: ndx, iflags, sums, tokens, sub-lists, statistics, goodbye. PS_AGAIN: used up;
 * PS_FULL: log or events must be drained; PS_DONE: the goodbye is over; PS_FAIL. */
int recv_step(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner);
/* Puts delayed updates into place once their phase has come; until then nothing. recv_step does so itself where no swarm is
 * possible; else this is called when the last swarm file has settled. */
void recv_place_delayed(ps_recv *r);

#endif
