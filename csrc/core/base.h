/* Foundation of the C core: status codes, the bounds-checked reader, growable buffers with limits,
 * an arena, the log stream and the transfer context shared by all parts of one session. */
#ifndef PS_BASE_H
#define PS_BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <sys/stat.h>

#include "api/base_api.h"
#include "api/options_api.h"
#include "core/limits.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define PS_LIKELY(x) __builtin_expect(!!(x), 1)
#define PS_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PS_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- reader: the only way bytes from a remote are looked at --------------------------------
 * All rd_* return 0 (or NULL) and set `need` when the bytes are not there yet, or `bad` when the
 * value is malformed. Decode one record, then test the flags once; on `need` go back to the mark
 * and try again with more input. */
typedef struct ps_reader {
    const u8 *p, *end;
    bool need, bad;
} ps_reader;

static inline ps_reader rd_make(const void *data, size_t len) {
    const u8 *p = data;
    ps_reader r = {p, len ? p + len : p, false, false}; /* not even 0 may be added to NULL */
    return r;
}
static inline size_t rd_left(const ps_reader *r) { return (size_t)(r->end - r->p); }
static inline bool rd_ok(const ps_reader *r) { return !(r->need | r->bad); }
static inline const u8 *rd_bytes(ps_reader *r, size_t n) {
    if (PS_UNLIKELY(r->need | r->bad) || PS_UNLIKELY(rd_left(r) < n)) {
        r->need = true;
        return NULL;
    }
    const u8 *at = r->p;
    r->p += n;
    return at;
}
static inline u8 rd_u8(ps_reader *r) {
    const u8 *b = rd_bytes(r, 1);
    return b ? b[0] : 0;
}
static inline u16 rd_u16(ps_reader *r) {
    const u8 *b = rd_bytes(r, 2);
    return (u16)(b ? (u32)b[0] | (u32)b[1] << 8 : 0u);
}
static inline u32 rd_u32(ps_reader *r) {
    const u8 *b = rd_bytes(r, 4);
    return b ? (u32)b[0] | (u32)b[1] << 8 | (u32)b[2] << 16 | (u32)b[3] << 24 : 0;
}
static inline i32 rd_i32(ps_reader *r) { return (i32)rd_u32(r); }
static inline u64 rd_u64(ps_reader *r) {
    u64 lo = rd_u32(r);
    return lo | (u64)rd_u32(r) << 32;
}
/* io.c:read_varint, read_varlong(min_bytes), read_longint, read_varint30 (protocol < 30: 4 bytes) */
i32 rd_varint(ps_reader *r);
i64 rd_varlong(ps_reader *r, int min_bytes);
i64 rd_longint(ps_reader *r);
i32 rd_varint30(ps_reader *r, int protocol);
i64 rd_varlong30(ps_reader *r, int protocol, int min_bytes);
/* io.c:read_vstring: length in 1 or 2 bytes; at most `limit` bytes, else bad. */
const u8 *rd_vstring(ps_reader *r, size_t limit, size_t *len);

/* ---- growable buffer --------------------------------------------------------------------- */
typedef struct ps_buf {
    u8 *data;
    size_t start, len, cap; /* readable bytes: data[start .. len) */
    bool failed;            /* an allocation failed: contents incomplete */
} ps_buf;

void buf_free(ps_buf *b);
bool buf_reserve(ps_buf *b, size_t more); /* room for `more` bytes after len; compacts consumed bytes */
static inline size_t buf_used(const ps_buf *b) { return b->len - b->start; }
static inline u8 *buf_head(const ps_buf *b) { return b->start ? b->data + b->start : b->data; }
static inline void buf_consume(ps_buf *b, size_t n) {
    b->start += n;
    if (b->start >= b->len) b->start = b->len = 0;
}
static inline void buf_clear(ps_buf *b) { b->start = b->len = 0; }
static inline bool buf_put(ps_buf *b, const void *data, size_t n) {
    if (PS_UNLIKELY(b->cap - b->len < n) && !buf_reserve(b, n)) return false;
    if (n) memcpy(b->data + b->len, data, n);
    b->len += n;
    return true;
}
static inline bool buf_u8(ps_buf *b, u8 v) { return buf_put(b, &v, 1); }
static inline bool buf_u16(ps_buf *b, u16 v) {
    u8 x[2] = {(u8)v, (u8)(v >> 8)};
    return buf_put(b, x, 2);
}
static inline bool buf_u32(ps_buf *b, u32 v) {
    u8 x[4] = {(u8)v, (u8)(v >> 8), (u8)(v >> 16), (u8)(v >> 24)};
    return buf_put(b, x, 4);
}
static inline bool buf_i32(ps_buf *b, i32 v) { return buf_u32(b, (u32)v); }
static inline bool buf_u64(ps_buf *b, u64 v) { return buf_u32(b, (u32)v) && buf_u32(b, (u32)(v >> 32)); }
bool buf_varint(ps_buf *b, i32 v);                 /* io.c:write_varint */
bool buf_varlong(ps_buf *b, i64 v, int min_bytes); /* io.c:write_varlong */
bool buf_longint(ps_buf *b, i64 v);                /* io.c:write_longint */
bool buf_varint30(ps_buf *b, int protocol, i32 v);
bool buf_varlong30(ps_buf *b, int protocol, i64 v, int min_bytes);
bool buf_vstring(ps_buf *b, const void *s, size_t n); /* n <= 0x7fff */
bool buf_printf(ps_buf *b, const char *fmt, ...) PS_PRINTF(2, 3);

/* ---- arena: strings that live as long as their owner. Offsets stay valid when it grows; pointers do not. */
typedef struct ps_arena {
    char *data;
    size_t len, cap;
} ps_arena;
#define PS_NO_OFFSET UINT32_MAX
u32 arena_put(ps_arena *a, const void *s, size_t n); /* appends n bytes and a NUL; PS_NO_OFFSET when it cannot */
void arena_free(ps_arena *a);
static inline const char *arena_at(const ps_arena *a, u32 off) { return a->data + off; }

/* ---- ndx coding, io.c:read_ndx / write_ndx: one state per direction ----------------------- */
typedef struct ps_ndx_state {
    i32 prev_positive, prev_negative;
} ps_ndx_state;
static inline ps_ndx_state ndx_state_make(void) {
    ps_ndx_state s = {-1, 1};
    return s;
}
i32 rd_ndx(ps_reader *r, ps_ndx_state *s, int protocol); /* on `need` the state is untouched */
bool buf_ndx(ps_buf *b, ps_ndx_state *s, int protocol, i32 ndx);

/* ---- events: what Python must see singly ------------------------------------------------- */
#define PS_EVENTS_MAX 256
typedef struct ps_events {
    ps_event list[PS_EVENTS_MAX];
    u32 count;
    ps_buf text; /* bytes that events refer to by (text_off, text_len) */
} ps_events;

/* ---- context: one per session side; every part of that side holds a pointer to it --------- */
struct ps_ids;
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
    bool cancelled;    /* set by ps_cancel, possibly from another thread */
    char *strings[PS_STR_COUNT];
    char *alt_dirs[PS_ALT_DIRS_MAX];
    u32 alt_count;
    ps_chmod_op *chmod_ops;
    u32 chmod_count;
    void *formats[2];  /* compiled output formats: owned and freed by render.c */
    u8 transfer_sum[PS_LIMIT_CHECKSUM]; /* whole-file checksum of the file just transferred, for %C (log.c:sender_file_sum) */
    struct ps_ids *ids; /* made with the file list; freed with the context */
    int holders;       /* parts that need it until they are freed themselves, see ctx_hold */
};

/* A part that frees what the context refers to keeps it alive; it ends with ps_ctx_free as the last owner does. Python's
 * collector may free them in any order. */
static inline ps_ctx *ctx_hold(ps_ctx *c) {
    c->holders++;
    return c;
}

static inline const char *ps_str(const ps_ctx *c, int which) { return c->strings[which]; }

/* Messages of equal code share a record. So that a line end always ends a message there, a newline or carriage return within
 * a message (but for a carriage return in front) is stored as this byte followed by 'n' or 'r'. */
#define PS_LOG_MARK 0
/* Whether the log holds something for a server's client, not just for its own log. */
static inline bool log_for_client(const ps_ctx *c) {
    return buf_used(&c->log) && (c->log.data[c->log.start] != PS_LOG_LOG || c->log.data[c->log_last] != PS_LOG_LOG);
}
void render_free(ps_ctx *c); /* render.c: the formats, for ps_ctx_free */

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
