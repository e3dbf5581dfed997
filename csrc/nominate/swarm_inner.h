/* The inside of the client's side of nominate/1: its state, and what swarm*.c ask of each other. */
#ifndef PS_SWARM_INNER_H
#define PS_SWARM_INNER_H
#include "core/names.h"
#include "nominate/swarm.h"
#include "output/basis.h"

#define SWARM_GAP_FILES 96u          /* files of one bundle of gaps: each holds a descriptor */
#define SWARM_GAPS 64u               /* of one such file */
#define SWARM_ENTRY_BYTES 60000u     /* of the paths and numbers of one request */
#define SWARM_ASK_ENTRIES 1024u      /* of one digests? */
#define SWARM_ASKS 64u               /* live requests for digests */
#define SWARM_PROGRESS 64u           /* requests that one batch of records may belong to */
#define SWARM_OPEN_OUTPUTS 200u      /* large files in work at once: each holds a descriptor */
#define SWARM_NONE UINT32_MAX

typedef enum {
    JOB_FREE,
    JOB_QUEUED,   /* its digest will be asked for */
    JOB_ASKED,
    JOB_PENDING,
    JOB_LATER,    /* no-data session: to be asked for again */
    JOB_LOCAL,    /* waits for its output to be opened and its basis searched */
    JOB_SEARCH,   /* the one whose basis is being searched */
    JOB_SMALL,    /* in a bundle or in a request */
    JOB_LARGE     /* its pieces come from sources */
} swarm_job_state;

typedef struct swarm_job {
    i32 ndx;
    u8 state, basis;
    bool head_seen;
    u32 iflags;
    i64 size, basis_size;
    double since;          /* answered pending */
    u8 root[32];
    u8 *pieces;            /* digests, piece_count × 32; NULL for one piece */
    u32 piece_count, pieces_have;
    u8 *sums;              /* block sums as on the wire */
    ps_sum_head head;
    u32 blocks_have;
    ps_out *out;
    u8 *doubted;           /* of each piece: what a source brought did not fit; NULL: none */
    bool from_partial;
    u8 *gathered;          /* a small file that comes in parts */
    i64 got;               /* bytes in gathered */
    u32 announce;          /* next piece whose run is to be announced */
    u32 next;              /* free list, or queue */
} swarm_job;

typedef struct swarm_ask {
    u32 id, count, open;   /* open: entries not answered */
    u32 *jobs;             /* SWARM_NONE: settled otherwise */
} swarm_ask;

/* Whole small files; or, `gaps`, what is missing of files of one piece whose basis has the rest. */
typedef struct swarm_bundle {
    u32 *jobs, count;
    bool gaps;
    u32 ranges;
    i64 bytes;
    size_t entry_bytes;
    bool announced;
} swarm_bundle;

typedef struct swarm_entry {
    u32 job;
    i64 offset, length, got;
    u8 missing;            /* reason */
    bool settled;
} swarm_entry;

typedef struct swarm_request {
    u32 id;
    bool small, gaps;      /* of a bundle: whole files, gaps; else pieces of one job */
    u32 job, first, last;
    swarm_entry *entries;
    u32 count;
} swarm_request;

typedef struct swarm_block { /* where a block of the new file lies in the basis; -1 nowhere */
    i64 basis;
} swarm_block;

struct ps_swarm {
    ps_swarm_parts p;
    ps_swarm_counts counts;
    bool no_data, closed; /* closed: nothing joins any more */
    ps_new_modes new_modes; /* without -p */
    char *prefix;
    size_t prefix_len; /* 0: none */
    size_t below_len;  /* bytes by which a mirror may lengthen a path: its tree lies below its module's root */
    double now;
    swarm_job *jobs;
    u32 job_count, job_cap, free_job;
    u32 queue_head, queue_tail, queue_len; /* JOB_QUEUED */
    u32 local_head, local_tail;            /* JOB_LOCAL */
    swarm_ask asks[SWARM_ASKS];
    u32 ask_count, next_ask;
    u64 window_entries, window_bytes;
    swarm_bundle *bundles;
    u32 bundle_count, bundle_cap;
    u32 filling, filling_gaps;             /* the bundles that take new files; SWARM_NONE */
    swarm_request *requests;
    u32 request_count, request_cap;
    ps_buf entries;
    u32 entry_count;
    u64 entries_length;                    /* bytes that they ask for */
    ps_buf frame;
    u64 progress[2 * SWARM_PROGRESS];
    /* local search */
    u32 searching;
    ps_sums *sums;
    ps_match *match;
    ps_block_hasher hasher;
    bool have_hasher;
    int basis_fd;
    i64 basis_at;
    swarm_block *found;
    u8 *scratch;                           /* a copy of the record that is being delivered */
    u32 scratch_size;
    u32 announcing;                        /* a large job whose runs are being announced */
};

swarm_job *swarm_job_at(ps_swarm *s, u32 job);
u32 swarm_job_new(ps_swarm *s);
void swarm_job_free(ps_swarm *s, u32 job);
/* Paths, entries of the list. */
ps_file *swarm_file(ps_swarm *s, const swarm_job *j, ps_flist **list, char path[PS_LIMIT_NAME + 1]);
int swarm_to_classic(ps_swarm *s, u32 job, bool no_digest);
int swarm_ready(ps_swarm *s, u32 job); /* the digest answer is complete */
int swarm_settle(ps_swarm *s, u32 job, ps_settled how);
ps_out *swarm_open_output(ps_swarm *s, u32 job, int *status); /* NULL: status is PS_OK when the file has failed and is settled */
int swarm_finish_file(ps_swarm *s, u32 job); /* everything is there and verified */
void swarm_say_undelivered(ps_swarm *s, const swarm_job *j); /* an error line */
void swarm_queue_local(ps_swarm *s, u32 job);
int swarm_add_to_bundle(ps_swarm *s, u32 job); /* to the one that is filling */
int swarm_add_gaps(ps_swarm *s, u32 job);      /* likewise; PS_DONE: they are not for a bundle */
int swarm_announce(ps_swarm *s, bool flush);
int swarm_write_failed(ps_swarm *s, const swarm_job *j); /* errno: writing a job's file ended the run; PS_FAIL */
int swarm_local_step(ps_swarm *s);      /* PS_OK, PS_AGAIN, PS_FULL, PS_FAIL */
void swarm_local_stop(ps_swarm *s);

#endif
