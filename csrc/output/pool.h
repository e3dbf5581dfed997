/* Two threads that put small verified files in place while the session's own thread receives on.
 * The session's thread opens each output (so that what cannot be opened is reported in its order) and gathers the data; a
 * thread writes them, sets the attributes and renames. Whatever fails there is done once more by the session's thread, in the
 * ordinary way, which says what went wrong: so the threads log nothing and decide nothing. */
#ifndef PS_OUT_POOL_H
#define PS_OUT_POOL_H
#include "output/output.h"

#define OUT_POOL_FILE (64u * 1024u) /* the longest file that is taken */

typedef struct ps_out_pool ps_out_pool;

/* What is to be in a file: n bytes in memory, or all of another file where `from` is not -1. */
typedef struct out_pool_data {
    const u8 *bytes;
    int from; /* closed by the thread that has copied it, else the owner's again */
    size_t n;
} out_pool_data;

/* A file that was handed over. `done`: it lies under its final name; else it is as it was put, and the owner's to finish. */
typedef void (*out_pool_fn)(void *owner, ps_out *out, out_pool_data data, bool done);

/* The context's options are copied: they must not change any more. NULL: it cannot be had, so do without. */
ps_out_pool *out_pool_new(const ps_ctx *c);
void out_pool_free(ps_out_pool *p); /* after out_pool_collect(…, true, …) */
/* Where the next file's OUT_POOL_FILE bytes are to be gathered; NULL: call out_pool_collect. Stays until out_pool_put. */
u8 *out_pool_room(ps_out_pool *p);
/* The first n bytes of the room are all of this file, which is whole and right and only has to be put in place (out_is_plain).
 * false: it was not taken. */
bool out_pool_put(ps_out_pool *p, ps_out *out, size_t n);
/* The same for n bytes of an open file, n at most OUT_POOL_FILE; the room is not used. */
bool out_pool_put_file(ps_out_pool *p, ps_out *out, int from, size_t n);
/* Gives back the files that are finished; all: waits for every one that was put; else, where no room is left, for some. */
void out_pool_collect(ps_out_pool *p, bool all, out_pool_fn fn, void *owner);
size_t out_pool_under_way(const ps_out_pool *p); /* files put and not given back */

#endif
