/* The receiver's inside: shared by receiver.c (records) and file.c (one file's data). */
#ifndef PS_RECEIVER_INNER_H
#define PS_RECEIVER_INNER_H
#include "core/names.h"
#include "delta/token.h"
#include "output/basis.h"
#include "output/pool.h"
#include "receiver/receiver.h"
#include "render/render.h"
#include "wire/local.h"
#include "wire/records.h"
#include <sys/uio.h>

#define PS_RECV_SMALL OUT_POOL_FILE  /* files up to this are gathered and written at once */
#define PS_RECV_FEW 32               /* small files of a session that are not worth threads */
#define PS_RECV_RUNS 64              /* literal runs written with one call */
#define PS_RECV_RUN_BYTES (1u << 20)
#define PS_RECV_LOG_ROOM (256u * 1024u) /* log bytes above which the caller must drain */

typedef enum {
    RECV_RECORD,   /* ndx and attributes, or a control record */
    RECV_LIST,     /* a sub-list */
    RECV_WANTED,   /* a batch: whether the generator wants the file */
    RECV_CATCH_UP, /* a batch: the generator comes to where a list or a phase ended */
    RECV_HEAD,     /* a file's sum head */
    RECV_TOKENS,
    RECV_TAKE_OVER, /* its data come from a file that was handed over */
    RECV_SUM,      /* its whole-file checksum */
    RECV_STATS,
    RECV_GOODBYE,
    RECV_END
} recv_state;

struct ps_recv {
    ps_ctx *c;
    ps_flists *all;
    ps_gen *gen;
    ps_rules *rules;
    ps_root *root;
    ps_flist_decoder *decoder;
    ps_ndx_state *ndx_in;
    ps_outs *outs;
    ps_local *local;            /* NULL: nothing is handed over */
    ps_token_in *tokens;
    ps_sum *sum;
    ps_progress *progress;
    recv_state state;
    int phase;
    bool delayed_due;           /* --delay-updates: the time has come */
    const ps_flist *current;    /* rsync's cur_flist: of the last record; NULL once all have ended */
    u32 lists_left, lists_gone; /* received and not ended by the sender; ended */
    ps_new_modes new_modes;     /* without -p */
    u32 visible_dir;            /* the daemon's rules exclude nothing on the way to this directory's entries */

    /* the record */
    i32 ndx;
    u32 iflags;
    u8 basis_type;
    const ps_flist *list;
    ps_file *file;
    char path[PS_LIMIT_NAME + 1];
    char xname[PS_LIMIT_VSTRING + 1];

    /* the file in progress */
    ps_sum_head head;
    ps_out *out;
    bool skipped; /* its data comes and is not for us */
    bool discard, redoing, from_partial, updating; /* updating: the output is the basis (one_inplace) */
    bool small, got_literal;
    local_file taken;           /* fd -1: none */
    bool cut_short;             /* it had less than was said, or could not be read */
    int basis;
    i64 basis_size, offset;
    u64 data_before;            /* mux.data_bytes when the record was read: for %b */
    bool behind;                /* small files may be put in place by the pool */
    u32 small_count;            /* small files so far, until there is a pool */
    ps_out_pool *pool;          /* NULL: none yet, or none can be had */
    u8 *gathered;               /* PS_RECV_SMALL bytes: own_room, or the pool's */
    u8 *own_room;
    u8 *window;                 /* for reading the basis */
    size_t window_room;
    struct iovec runs[PS_RECV_RUNS];
    int run_count;
    i64 run_offset;
    size_t run_bytes;
    const u8 *feed, *feed_end;  /* what stays valid until recv_step returns */
    i64 copy_from, copy_offset, copy_len; /* adjacent blocks not copied yet */
    ps_mux_out *out_unheard;    /* a batch: the generator's output, which nobody reads */
    ps_ndx_state *ndx_unheard;
    u32 resends_missing;        /* files that failed verification and have not come again */
    u8 remote_sum[PS_LIMIT_CHECKSUM];
    size_t remote_sum_have;
};

/* More contiguous input for a record that begins at the current span of `have` bytes. */
static inline int recv_more(ps_recv *r, ps_mux_in *m, size_t have, ps_message_fn fn, void *owner) {
    return mux_fill(r->c, m, buf_used(&m->stage) ? 64 : have + 64, fn, owner);
}
static inline u64 recv_data_read(const ps_mux_in *m) { return m->data_bytes - buf_used(&m->stage); }

void recv_log_item(ps_recv *r, ps_mux_in *m, int code);
/* batch.c: PS_OK, PS_FULL: drain, then the same again; PS_FAIL */
int recv_take_wanted(ps_recv *r, ps_mux_in *m);
int recv_catch_up(ps_recv *r);

int recv_file_begin(ps_recv *r);  /* the head is there: basis, output */
int recv_file_tokens(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner);
int recv_file_end(ps_recv *r, ps_mux_in *m);
int recv_file_take_over(ps_recv *r); /* a part of the file that was handed over */
void recv_settle_some(ps_recv *r, bool all); /* of the files that the pool has; all: waits for them */
void recv_file_drop(ps_recv *r);  /* closes what the file in progress holds */

#endif
