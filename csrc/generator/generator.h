/* The generator: compares the list with the destination, makes what needs no data, deletes, and asks for files. */
#ifndef PS_GENERATOR_H
#define PS_GENERATOR_H
#include "filelist/flist.h"
#include "filter/rules.h"
#include "fs/root.h"
#include "wire/mux.h"
#include "wire/records.h"

typedef struct ps_gen ps_gen;
typedef enum { PS_SETTLED_OK, PS_SETTLED_REDO, PS_SETTLED_FAILED, PS_SETTLED_NO_SEND } ps_settled;
ps_gen *gen_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest);
void gen_free(ps_gen *g);
struct ps_sums_ahead;
void gen_use_sums_ahead(ps_gen *g, const struct ps_sums_ahead *e); /* -c: sums that are known already; borrowed */
/* Goes on through the lists received so far: compares, creates directories, links and devices, deletes, writes requests.
 * PS_AGAIN: waits for a list or for files in progress; PS_FULL: out is above PS_SEND_HIGH_WATER, or the log or the events
 * must be drained; PS_DONE: all phases over and the goodbye's NDX_DONEs written. Bounded: at most about 1 ms of work. */
int gen_step(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx);
/* The receiver (or the swarm) has settled a file that was asked for. Drives hard-link followers, redo, directory times,
 * release of lists. Writes nothing itself; gen_step does. */
int gen_settled(ps_gen *g, i32 ndx, ps_settled how);
/* The same where the sender's words or data settle it: PS_FAIL for a file of the swarm, of which the sender must not speak. */
int gen_settled_by_sender(ps_gen *g, i32 ndx, ps_settled how);
bool gen_in_swarm(const ps_file *f);
/* The sender has answered the NDX_DONE that ended a phase (rsync's MSG_DONE count): called once for each of them, after the
 * receiver has done what belongs to that phase (delayed updates before the second). */
void gen_phase_ended(ps_gen *g);
/* Lists: gen writes a list's NDX_DONE, sets its done_sent and touches it no more; recv drops it at the sender's echo.
 * With o.dry_run > 1 the destination directory does not exist and the root given to gen and recv is NULL. */
int gen_phase(const ps_gen *g);     /* 0 first, 1 redo, 2 delayed updates done … as generator.c counts them */
bool gen_in_redo(const ps_gen *g, i32 ndx);

/* backup.c:make_backup: keeps what is at `path` under its backup name. */
#define GEN_BACKUP_FAILED 0  /* errno */
#define GEN_BACKUP_MOVED 1   /* nothing is at `path` any more */
#define GEN_BACKUP_COPIED 2  /* or linked */
#define GEN_BACKUP_NOTHING 3 /* nothing is there, or nothing that can be kept */
int gen_make_backup(ps_gen *g, const char *path, bool prefer_rename);
bool gen_back_up_output(void *generator, const char *path); /* the same as outs_back_up takes it: a copy or a link where it can */
int gen_open_backup_basis(ps_gen *g, const char *path); /* PS_BASIS_BACKUP, for reading; -1: errno */

/* o.read_batch: what is asked for is queued, for the receiver to compare with what comes. */
bool gen_next_wanted(ps_gen *g, i32 most, i32 *ndx); /* takes the first in the queue, where it is not above `most` */
bool gen_is_past(const ps_gen *g, i32 ndx);          /* whether the entry has been looked at */
int gen_press_on(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx); /* gen_step, which does not wait for more lists */

/* The seam of the swarm. Where an ordinary request for an eligible file would be written, it is queued here instead; it
 * holds its list's NDX_DONE until it is routed. */
typedef struct ps_gen_job {
    i32 ndx;
    u32 iflags;          /* what itemize would have sent: for the line that the client prints itself */
    i64 size, basis_size; /* of the new file; of the basis, 0 none */
    u8 basis;            /* PS_BASIS_* */
} ps_gen_job;
const ps_gen_job *gen_jobs(const ps_gen *g, size_t *count); /* queued since the last gen_jobs_taken; valid until gen_step */
void gen_jobs_taken(ps_gen *g);
/* Routes a queued file. Classic: gen_step writes the ordinary request. Swarm: the sender never hears of it; its list may end,
 * but stays in memory (gen_first_list_done) until gen_settled. */
int gen_route_classic(ps_gen *g, i32 ndx);
int gen_route_swarm(ps_gen *g, i32 ndx);
/* The sender has echoed the first list's NDX_DONE: drops it, at once or when its last swarm file has settled. PS_FAIL when
 * the generator is not through with it (the remote's error). */
int gen_first_list_done(ps_gen *g);

#endif
