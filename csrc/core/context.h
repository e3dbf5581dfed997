/* The context that all parts of one side of a session share: options, the first failure, log stream, events, statistics; and
 * the core's threads. */
#ifndef PS_CONTEXT_H
#define PS_CONTEXT_H
#include "core/bytes.h"

#include <pthread.h>
#include <sys/types.h>
#include <sys/stat.h>

#include "api/context_api.h"
#include "api/options_api.h"

/* ---- events: what Python must see singly ------------------------------------------------- */
#define PS_EVENTS_MAX 256
typedef struct ps_events {
    ps_event list[PS_EVENTS_MAX];
    u32 count;
    ps_buf text; /* bytes that events refer to by (text_off, text_len) */
} ps_events;

/* ---- context: one per session side; every part of that side holds a pointer to it --------- */
/* What a part above keeps in the context: only that part reads it, and the context's end calls the part's own function. */
enum { PS_OWNED_IDS, PS_OWNED_FORMATS, PS_OWNED_MAX };
typedef struct ps_owned {
    void *data;
    void (*free)(void *data);
} ps_owned;
struct ps_ctx {
    ps_opts o;         /* set by Python before the parts are made; not changed afterwards */
    ps_error error;    /* the first failure; status PS_FAIL refers to it */
    ps_buf log;        /* records: u8 log code, u32 length, bytes: messages as rsync's rprintf would give them, one after the
                        * other; see PS_LOG_MARK */
    size_t log_last;   /* offset of the last record, to merge equal codes */
    ps_events events;
    ps_stats stats;
    i32 io_error;      /* IOERR_* */
    bool got_xfer_error; /* any PS_LOG_ERROR_XFER was logged here: exit code 23 */
    bool classic;      /* set by ps_ctx_go_classic, for good */
    bool cancelled;    /* set by ps_cancel, possibly from another thread */
    char *strings[PS_STR_COUNT];
    char *alt_dirs[PS_ALT_DIRS_MAX];
    u32 alt_count;
    ps_chmod_op *chmod_ops;
    u32 chmod_count;
    ps_owned owned[PS_OWNED_MAX];
    u8 transfer_sum[PS_LIMIT_CHECKSUM]; /* whole-file checksum of the file just transferred, for %C (log.c:sender_file_sum) */
    /* Of a daemon that receives: whether its rules hide a path of the transfer. NULL: there are none. */
    bool (*hides)(void *rules, const char *path, size_t len, bool is_dir);
    void *hiding_rules;
    bool tames_links;  /* targets of symlinks are made to stay within the transfer (flist.c:recv_file_entry, sanitize_path) */
    struct ps_root *module; /* of a daemon that receives: whatever a client names lies beneath; NULL: anywhere. Borrowed */
    int holders;       /* parts that need it until they are freed themselves, see ctx_hold */
};

/* A part that frees what the context refers to keeps it alive; it ends with ps_ctx_free as the last owner does. Python's
 * collector may free them in any order. */
static inline ps_ctx *ctx_hold(ps_ctx *c) {
    c->holders++;
    return c;
}

/* Whether files that need data may join the swarm. */
static inline bool ctx_swarms(const ps_ctx *c) { return c->o.swarm && !c->classic; }
/* rsync's do_xfers: files' data is asked for and sent. */
static inline bool moves_data(const ps_opts *o) { return !o->dry_run || o->only_write_batch; }
static inline bool ctx_hides(const ps_ctx *c, const char *path, size_t len, bool is_dir) {
    return c->hides && c->hides(c->hiding_rules, path, len, is_dir);
}

static inline void *ctx_owned(const ps_ctx *c, int slot) { return c->owned[slot].data; }
static inline void ctx_own(ps_ctx *c, int slot, void *data, void (*free)(void *)) { c->owned[slot] = (ps_owned){data, free}; }

static inline const char *ps_str(const ps_ctx *c, int which) { return c->strings[which]; }

/* Messages of equal code share a record. So that a line end always ends a message there, a newline or carriage return within
 * a message (but for a carriage return in front) is stored as this byte followed by 'n' or 'r'. */
#define PS_LOG_MARK 0
/* Whether the log holds something for a server's client, not just for its own log. */
static inline bool log_for_client(const ps_ctx *c) {
    return buf_used(&c->log) && (c->log.data[c->log.start] != PS_LOG_LOG || c->log.data[c->log_last] != PS_LOG_LOG);
}

/* rsync's rprintf / rsyserr. Text goes to the log stream; Python decides where it is shown or sent. */
void ps_log(ps_ctx *c, int code, const char *fmt, ...) PS_PRINTF(3, 4);
void ps_log_errno(ps_ctx *c, int code, int err, const char *fmt, ...) PS_PRINTF(4, 5); /* appends ": strerror (errno)\n" */
void ps_log_bytes(ps_ctx *c, int code, const void *text, size_t n);
/* Records the first failure and returns PS_FAIL. text: one line, no newline, what, where, what to do. */
int ps_fail(ps_ctx *c, int exit_code, int err, const char *fmt, ...) PS_PRINTF(4, 5);
int ps_fail_memory(ps_ctx *c, const char *what);

/* A thread of the core's own. It takes no signals: those are for the thread that runs Python's handlers. */
bool thread_start(pthread_t *id, void *(*run)(void *), void *argument);
bool thread_pays(void); /* whether there is more than one processor */

/* Appends an event; text may be NULL. false when the array is full: return PS_FULL and go on later. */
bool ps_event_add(ps_ctx *c, i32 kind, i32 code, i64 a, i64 b, const void *text, size_t n);
static inline bool ps_events_full(const ps_ctx *c) { return c->events.count >= PS_EVENTS_MAX; }

#endif
