/* A peer connection at the daemon: fetch → data, missing, busy (protocol-spec/nominate-1.md §2). Other frames are Python's. */
#include "nominate/serve.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/names.h"

#define FRAMES_HELD 65536u

typedef struct fetch_entry {
    u32 path, path_len; /* in the fetch's bytes */
    u32 digest;
    u64 offset, length;
} fetch_entry;

typedef struct fetch {
    u8 *bytes;
    u32 id, count;
    fetch_entry *entries;
} fetch;

struct ps_peer {
    ps_ctx *c;
    ps_rules *rules;
    ps_root *root;
    ps_index *index;
    ps_mux_in in;
    ps_mux_out out;
    ps_peer_counts counts;
    u32 busy;
    bool bye;
    fetch queue[PS_NOMINATE_FETCH_WINDOW]; /* queue[0] is being answered */
    u32 at;            /* its entry */
    int fd;            /* of that entry, -1 */
    u64 sent;          /* of its length */
    char path[PS_LIMIT_NAME + 1];
    ps_buf frames, wanted;
};

ps_peer *ps_peer_new(ps_ctx *c, struct ps_rules *rules, struct ps_root *root, struct ps_index *index) {
    ps_peer *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->c = c;
    p->rules = rules;
    p->root = root;
    p->index = index;
    p->fd = -1;
    mux_in_init(&p->in);
    mux_out_init(&p->out);
    return p;
}

static void drop_fetch(ps_peer *p) {
    free(p->queue[0].bytes);
    free(p->queue[0].entries);
    p->counts.queued--;
    memmove(&p->queue[0], &p->queue[1], p->counts.queued * sizeof p->queue[0]);
    p->at = 0;
}

static void close_file(ps_peer *p) {
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    p->sent = 0;
}

void ps_peer_free(ps_peer *p) {
    if (!p) return;
    close_file(p);
    while (p->counts.queued) drop_fetch(p);
    mux_in_free(&p->in);
    mux_out_free(&p->out);
    buf_free(&p->frames);
    buf_free(&p->wanted);
    free(p);
}

void ps_peer_set_busy(ps_peer *p, uint32_t seconds) { p->busy = seconds; }
const ps_peer_counts *ps_peer_get_counts(const ps_peer *p) { return &p->counts; }

const u8 *ps_peer_frames(const ps_peer *p, size_t *len) {
    *len = buf_used(&p->frames);
    return *len ? buf_head(&p->frames) : NULL;
}
void ps_peer_frames_clear(ps_peer *p) { buf_clear(&p->frames); }

const u8 *ps_peer_wanted(const ps_peer *p, size_t *len) {
    *len = buf_used(&p->wanted);
    return *len ? buf_head(&p->wanted) : NULL;
}
void ps_peer_wanted_clear(ps_peer *p) { buf_clear(&p->wanted); }

const u8 *ps_peer_out(ps_peer *p, size_t *len) {
    mux_out_close_frame(&p->out);
    *len = buf_used(&p->out.out);
    return *len ? buf_head(&p->out.out) : NULL;
}
void ps_peer_sent(ps_peer *p, size_t n) {
    buf_consume(&p->out.out, n);
    p->c->stats.total_written += (i64)n;
}

int ps_peer_put_frame(ps_peer *p, const u8 *data, size_t len) {
    return mux_out_message(&p->out, PS_MSG_NOMINATE, data, len) ? PS_OK : ps_fail_memory(p->c, "a frame");
}

/* ---- input ---------------------------------------------------------------------------------------- */

static int malformed(ps_peer *p, const char *what) { return ps_fail(p->c, 2, 0, "the peer's fetch is malformed: %s", what); }

/* A path as the file list would have it: relative, no empty, "." or ".." component, no NUL. */
static bool clean_path(const u8 *path, size_t len) {
    size_t start = 0;
    if (!len || len > PS_LIMIT_NAME || memchr(path, 0, len)) return false;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && path[i] != '/') continue;
        size_t n = i - start;
        if (!n || (path[start] == '.' && (n == 1 || (n == 2 && path[start + 1] == '.')))) return false;
        start = i + 1;
    }
    return true;
}

static int take_fetch(ps_peer *p, const u8 *data, u32 len) {
    if (p->counts.queued == PS_NOMINATE_FETCH_WINDOW) return malformed(p, "too many are open");
    fetch f = {.bytes = malloc(len + 1u)};
    if (!f.bytes) return ps_fail_memory(p->c, "a fetch");
    memcpy(f.bytes, data, len);
    ps_reader r = rd_make(f.bytes, len);
    f.id = rd_u32(&r);
    f.count = rd_u16(&r);
    const char *wrong = !rd_ok(&r) ? "it ends too early" : !f.count || f.count > PS_NOMINATE_FETCH_ENTRIES ? "its count is out of range" : NULL;
    if (!wrong && !(f.entries = calloc(f.count, sizeof *f.entries))) {
        free(f.bytes);
        return ps_fail_memory(p->c, "a fetch");
    }
    for (u32 i = 0; i < f.count && !wrong; i++) {
        fetch_entry *e = &f.entries[i];
        e->path_len = rd_u16(&r);
        const u8 *path = rd_bytes(&r, e->path_len);
        u8 kind = rd_u8(&r);
        const u8 *digest = rd_bytes(&r, 32);
        e->offset = rd_u64(&r);
        e->length = rd_u64(&r);
        if (!rd_ok(&r))
            wrong = "it ends too early";
        else if (!clean_path(path, e->path_len))
            wrong = "a path is not allowed";
        else if (!e->length || e->length > INT64_MAX || e->offset > INT64_MAX - e->length)
            wrong = "a range is not allowed";
        if (wrong) break;
        e->path = (u32)(path - f.bytes);
        e->digest = kind == PS_DIGEST_BLAKE3 ? (u32)(digest - f.bytes) : 0;
    }
    if (!wrong && rd_left(&r)) wrong = "it is too long";
    if (wrong) {
        free(f.bytes);
        free(f.entries);
        return malformed(p, wrong);
    }
    p->queue[p->counts.queued++] = f;
    return PS_OK;
}

static int on_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_peer *p = owner;
    if (code != PS_MSG_NOMINATE) return code == PS_MSG_NOOP ? PS_OK : ps_fail(p->c, 12, 0, "unexpected tag %u [peer]", code);
    if (!len) return ps_fail(p->c, 2, 0, "the peer sent an empty frame");
    if (data[0] == PS_FRAME_FETCH) return take_fetch(p, data + 1, len - 1);
    if (data[0] == PS_FRAME_BYE) p->bye = true;
    if (buf_used(&p->frames) + len > FRAMES_HELD) return ps_fail(p->c, 12, 0, "the peer sends more frames than it was asked for");
    return buf_u32(&p->frames, len) && buf_put(&p->frames, data, len) ? PS_OK : ps_fail_memory(p->c, "a frame");
}

int ps_peer_feed(ps_peer *p, const u8 *data, size_t len) {
    if (!mux_in_drained(&p->in)) return PS_FULL;
    p->c->stats.total_read += (i64)len;
    mux_in_feed(&p->in, data, len);
    return PS_OK;
}

/* Takes messages while there is room for another fetch. File data have no place on a peer connection. */
static int take_input(ps_peer *p) {
    const u8 *data;
    size_t n;
    while (p->counts.queued < PS_NOMINATE_FETCH_WINDOW && !mux_in_drained(&p->in) && !p->bye) {
        int status = mux_span(p->c, &p->in, &data, &n, on_message, p);
        if (status == PS_FAIL) return PS_FAIL;
        if (status == PS_OK && n) return ps_fail(p->c, 12, 0, "data outside a frame on a peer connection");
    }
    return PS_OK;
}

/* ---- answers -------------------------------------------------------------------------------------- */

static int put_missing(ps_peer *p, u8 reason) {
    ps_buf b = {0};
    buf_u8(&b, PS_FRAME_MISSING);
    buf_u32(&b, p->queue[0].id);
    buf_u16(&b, (u16)p->at);
    buf_u8(&b, reason);
    int status = b.failed ? ps_fail_memory(p->c, "a frame") : ps_peer_put_frame(p, b.data, b.len);
    buf_free(&b);
    p->counts.missing++;
    return status;
}

static int put_busy(ps_peer *p) {
    ps_buf b = {0};
    buf_u8(&b, PS_FRAME_BUSY);
    buf_u32(&b, p->queue[0].id);
    buf_u16(&b, (u16)p->busy);
    int status = b.failed ? ps_fail_memory(p->c, "a frame") : ps_peer_put_frame(p, b.data, b.len);
    buf_free(&b);
    p->counts.busy++;
    return status;
}

/* Opens the file if it is the one asked for. 0, or the reason why it is missing; -1: the context has failed. */
static int open_entry(ps_peer *p) {
    const fetch *f = &p->queue[0];
    const fetch_entry *e = &f->entries[p->at];
    memcpy(p->path, f->bytes + e->path, e->path_len);
    p->path[e->path_len] = 0;
    if (p->rules && (rules_path_excluded(p->rules, p->path, e->path_len, true) ||
                     rules_check_daemon(p->rules, p->path, e->path_len, false) < 0))
        return PS_MISSING_DENIED;
    if (!p->index) return PS_MISSING_UNKNOWN;
    struct stat st;
    p->fd = root_openat(p->root, p->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (p->fd < 0) return errno == EACCES || errno == EPERM ? PS_MISSING_DENIED : errno == ENOENT || errno == ENOTDIR ? PS_MISSING_NO_FILE : PS_MISSING_ERROR;
    if (fstat(p->fd, &st) != 0 || !S_ISREG(st.st_mode)) return PS_MISSING_NO_FILE;
    ps_index_entry x;
    if (index_begin(p->index) != PS_OK) return PS_MISSING_ERROR;
    int found = index_lookup(p->index, p->path, e->path_len, &st, &x);
    bool same = found == PS_OK && e->digest && memcmp(x.root, f->bytes + e->digest, 32) == 0;
    index_end(p->index);
    if (found != PS_OK) {
        serve_want(&p->wanted, 0, p->path, e->path_len);
        return PS_MISSING_UNKNOWN;
    }
    if (!same || e->offset + e->length > (u64)st.st_size) return PS_MISSING_OTHER;
    if (lseek(p->fd, (off_t)e->offset, SEEK_SET) < 0) return PS_MISSING_ERROR;
    return 0;
}

/* The next data frame, read straight into the output. */
static int put_data(ps_peer *p, const fetch_entry *e) {
    u64 left = e->length - p->sent;
    size_t want = left < SERVE_DATA_BYTES ? (size_t)left : SERVE_DATA_BYTES, head = 4 + 15;
    ps_buf *b = &p->out.out;
    mux_out_close_frame(&p->out);
    if (!buf_reserve(b, head + want)) return ps_fail_memory(p->c, "output");
    size_t start = b->len;
    b->len += head;
    ssize_t got;
    do got = read(p->fd, b->data + b->len, want);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        b->len = start;
        close_file(p);
        return put_missing(p, PS_MISSING_ERROR);
    }
    size_t end = b->len + (size_t)got;
    b->len = start;
    buf_u32(b, (u32)(PS_MUX_BASE + PS_MSG_NOMINATE) << 24 | (u32)(15 + got));
    buf_u8(b, PS_FRAME_DATA);
    buf_u32(b, p->queue[0].id);
    buf_u16(b, (u16)p->at);
    buf_u64(b, e->offset + p->sent);
    b->len = end;
    p->sent += (u64)got;
    p->counts.data += (u64)got;
    if (p->sent == e->length) {
        close_file(p);
        p->counts.files++;
    }
    return PS_OK;
}

static int answer(ps_peer *p) {
    const fetch *f = &p->queue[0];
    if (p->fd < 0 && p->at < f->count) {
        if (p->busy && !p->at) {
            int status = put_busy(p);
            drop_fetch(p);
            return status;
        }
        int why = open_entry(p);
        if (why) {
            close_file(p);
            if (put_missing(p, (u8)why) != PS_OK) return PS_FAIL;
            p->at++;
        }
    }
    if (p->fd >= 0) {
        if (put_data(p, &f->entries[p->at]) != PS_OK) return PS_FAIL;
        if (p->fd < 0) p->at++;
    }
    if (p->at == f->count && p->fd < 0) drop_fetch(p);
    return PS_OK;
}

int ps_peer_step(ps_peer *p) {
    if (p->c->error.exit_code) return PS_FAIL;
    u32 rounds = 0;
    for (;;) {
        if (take_input(p) != PS_OK) return PS_FAIL;
        if (buf_used(&p->frames)) return PS_FULL; /* Python has to say hello before data is sent */
        if (p->counts.queued && p->busy == (u32)PS_PEER_ASK) return PS_FULL;
        if (!p->counts.queued) return p->bye ? PS_DONE : PS_AGAIN;
        if (buf_used(&p->out.out) >= PS_SEND_HIGH_WATER) return PS_FULL;
        if (answer(p) != PS_OK) return PS_FAIL;
        if (++rounds == 64) return PS_OK;
    }
}
