/* digests? → digests (protocol-spec/nominate-1.md §2). Answers come from the index alone: this process hashes nothing. */
#include "nominate/digests_frame.h"
#include "nominate/serve.h"
#include "sender/sender.h"

#include <fcntl.h>
#include <stdlib.h>

typedef struct waiting_entry {
    u32 id, entry;
    i32 ndx;          /* for its size and time; -1 in `pending` once it is answered */
    bool sums, said;  /* block sums are wanted; `pending` was said */
    u32 path, path_len; /* in paths */
} waiting_entry;

_Static_assert(DIGESTS_BLOCK_BYTES == PS_INDEX_SUM, "block sums go out as the index holds them");

struct ps_digester {
    ps_ctx *c;
    struct ps_send *send;
    ps_root *root;
    ps_index *index;
    waiting_entry *queue;   /* asked for, not looked up yet: [head, count) */
    u32 head, count, cap;
    waiting_entry *pending; /* the indexer works on them */
    u32 pending_count, pending_cap;
    ps_arena paths;
    ps_buf wanted;
    ps_buf frame;
    u32 frame_id;
    bool frame_open, retrying, give_up;
    u32 retry_at;
    u32 given_files;
    u64 given_bytes;
};

void serve_want(ps_buf *wanted, u8 flags, const char *path, size_t len) {
    if (buf_used(wanted) + len > SERVE_WANTED_BYTES) return;
    buf_u8(wanted, flags);
    buf_put(wanted, path, len);
    buf_u8(wanted, 0);
}

int serve_stat(ps_root *root, const char *path, struct stat *st) {
    const char *base;
    int dir = root_parent(root, path, &base);
    return dir < 0 ? -1 : fstatat(dir, base, st, AT_SYMLINK_NOFOLLOW);
}

ps_digester *ps_digester_new(ps_ctx *c, struct ps_send *send, struct ps_root *root, struct ps_index *index) {
    ps_digester *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->c = c;
    d->send = send;
    d->root = root;
    d->index = index;
    return d;
}

void ps_digester_free(ps_digester *d) {
    if (!d) return;
    free(d->queue);
    free(d->pending);
    arena_free(&d->paths);
    buf_free(&d->wanted);
    buf_free(&d->frame);
    free(d);
}

uint32_t ps_digester_pending(const ps_digester *d) { return d->pending_count; }

void ps_digester_given(const ps_digester *d, uint32_t *files, uint64_t *bytes) {
    *files = d->given_files;
    *bytes = d->given_bytes;
}

const u8 *ps_digester_wanted(const ps_digester *d, size_t *len) {
    *len = buf_used(&d->wanted);
    return *len ? buf_head(&d->wanted) : NULL;
}

void ps_digester_wanted_clear(ps_digester *d) { buf_clear(&d->wanted); }

/* ---- the question --------------------------------------------------------------------------------- */

static int malformed(ps_digester *d, const char *what) {
    return ps_fail(d->c, 2, 0, "the client's request for digests is malformed: %s", what);
}

static bool push(waiting_entry **list, u32 *count, u32 *cap, const waiting_entry *e) {
    if (*count == *cap) {
        u32 more = *cap ? *cap * 2 : 256;
        waiting_entry *grown = realloc(*list, more * sizeof *grown);
        if (!grown) return false;
        *list = grown;
        *cap = more;
    }
    (*list)[(*count)++] = *e;
    return true;
}

static int total_entries(ps_digester *d, ps_reader r, u16 runs, u32 *total) {
    *total = 0;
    for (u16 i = 0; i < runs; i++) {
        rd_u32(&r);
        *total += rd_u16(&r);
        if (*total > PS_NOMINATE_DIGEST_REQUEST_ENTRIES) return malformed(d, "too many entries");
    }
    return rd_ok(&r) ? PS_OK : malformed(d, "it ends too early");
}

int ps_digester_ask(ps_digester *d, const u8 *data, size_t len) {
    ps_reader r = rd_make(data, len);
    u32 id = rd_u32(&r), total, entry = 0;
    u16 runs = rd_u16(&r);
    if (total_entries(d, r, runs, &total) != PS_OK) return PS_FAIL;
    ps_reader bits = r;
    rd_bytes(&bits, (size_t)runs * 6);
    const u8 *basis = rd_bytes(&bits, (total + 7) / 8);
    if (!rd_ok(&bits) || rd_left(&bits)) return malformed(d, "its length does not fit its entries");
    if (d->head) memmove(d->queue, d->queue + d->head, (d->count - d->head) * sizeof *d->queue);
    d->count -= d->head;
    d->head = 0;
    if (d->count + total > PS_NOMINATE_DIGEST_WINDOW_ENTRIES) return malformed(d, "more is asked for than the window holds");
    for (u16 i = 0; i < runs; i++) {
        i32 first = rd_i32(&r);
        u16 n = rd_u16(&r);
        if (first < 0 || first > INT32_MAX - (i32)n) return malformed(d, "an index is out of range");
        for (u16 k = 0; k < n; k++, entry++) {
            waiting_entry e = {.id = id, .entry = entry, .ndx = first + k, .sums = basis[entry / 8] >> (entry % 8) & 1};
            if (!push(&d->queue, &d->count, &d->cap, &e)) return ps_fail_memory(d->c, "requests for digests");
        }
    }
    return PS_OK;
}

/* ---- the answer ----------------------------------------------------------------------------------- */

static int close_frame(ps_digester *d) {
    if (!d->frame_open) return PS_OK;
    d->frame_open = false;
    bool ok = !d->frame.failed && mux_out_message(send_output(d->send), PS_MSG_NOMINATE, buf_head(&d->frame), buf_used(&d->frame));
    buf_clear(&d->frame);
    return ok ? PS_OK : ps_fail_memory(d->c, "digests");
}

/* Room for a part of `n` bytes in a frame of this id. */
static int open_frame(ps_digester *d, u32 id, size_t n) {
    if (d->frame_open && (d->frame_id != id || buf_used(&d->frame) + n > PS_NOMINATE_FRAME_BYTES) && close_frame(d) != PS_OK) return PS_FAIL;
    if (d->frame_open) return PS_OK;
    digests_put_start(&d->frame, id);
    d->frame_id = id;
    d->frame_open = true;
    return PS_OK;
}

static int put_head(ps_digester *d, const waiting_entry *e, digests_status status, const ps_index_entry *x) {
    if (open_frame(d, e->id, DIGESTS_HEAD_BYTES) != PS_OK) return PS_FAIL;
    digests_part p = {.kind = DIGESTS_HEAD, .entry = e->entry, .status = (u8)status};
    if (x) {
        p.size = x->size;
        p.mtime = x->mtime;
        p.mtime_ns = x->mtime_ns;
        p.digest_kind = (u8)x->kind;
        p.root = x->root;
    }
    digests_put(&d->frame, &p);
    return PS_OK;
}

static int put_runs(ps_digester *d, const waiting_entry *e, digests_part_kind kind, const u8 *data, u32 count) {
    const size_t width = digests_record_bytes((u8)kind);
    const u32 most = (u32)((PS_NOMINATE_FRAME_BYTES - 32) / width);
    for (u32 at = 0; at < count;) {
        u32 n = count - at < most ? count - at : most;
        if (open_frame(d, e->id, DIGESTS_RUN_HEAD_BYTES + n * width) != PS_OK) return PS_FAIL;
        digests_put(&d->frame, &(digests_part){.kind = (u8)kind, .entry = e->entry, .first = at, .count = (u16)n, .records = data + at * width});
        at += n;
    }
    return PS_OK;
}

static int put_known(ps_digester *d, const waiting_entry *e, const ps_index_entry *x) {
    if (put_head(d, e, DIGESTS_OK, x) != PS_OK) return PS_FAIL;
    d->given_files++;
    d->given_bytes += x->size;
    if (x->piece_count > 1 && put_runs(d, e, DIGESTS_PIECES, x->pieces, x->piece_count) != PS_OK) return PS_FAIL;
    return e->sums ? put_runs(d, e, DIGESTS_BLOCKS, x->sums, x->blocks) : PS_OK;
}

typedef enum { FOUND, UNKNOWN, GONE } found_kind;

static found_kind look_up(ps_digester *d, const char *path, size_t len, bool sums, ps_index_entry *x, int *status) {
    struct stat st;
    *status = PS_OK;
    if (serve_stat(d->root, path, &st) != 0 || !S_ISREG(st.st_mode)) return GONE;
    int found = index_lookup(d->index, path, len, &st, x);
    if (found == PS_FAIL) *status = ps_fail(d->c, 11, 0, "%s", ps_index_error(d->index));
    if (found != PS_OK || (sums && x->size && !x->blocks)) return UNKNOWN;
    return FOUND;
}

static int answer_new(ps_digester *d, waiting_entry *e) {
    ps_flist *list;
    ps_file *f = flists_file(send_lists(d->send), e->ndx, &list);
    if (!d->index || !f || !file_active(f) || !S_ISREG(f->mode)) return put_head(d, e, DIGESTS_NO, NULL);
    char path[PS_SOURCE_PATH];
    size_t len = file_source_path(send_lists(d->send), list, f, path);
    if (!len) return put_head(d, e, DIGESTS_NO, NULL);
    ps_index_entry x;
    int status;
    found_kind found = look_up(d, path, len, e->sums, &x, &status);
    if (status != PS_OK) return status;
    if (found == GONE) return put_head(d, e, DIGESTS_CHANGED, NULL);
    if (found == FOUND) {
        if (x.size != (u64)f->size || x.mtime != f->mtime) return put_head(d, e, DIGESTS_CHANGED, NULL);
        return put_known(d, e, &x);
    }
    if (d->pending_count >= PS_NOMINATE_DIGEST_WINDOW_ENTRIES) return put_head(d, e, DIGESTS_NO, NULL);
    e->path = arena_put(&d->paths, path, len);
    e->path_len = (u32)len;
    if (e->path == PS_NO_OFFSET || !push(&d->pending, &d->pending_count, &d->pending_cap, e))
        return ps_fail_memory(d->c, "requests for digests");
    serve_want(&d->wanted, e->sums ? PS_INDEX_SUMS : 0, path, len);
    return put_head(d, e, DIGESTS_PENDING, NULL);
}

static int answer_pending(ps_digester *d, const waiting_entry *e, bool *answered) {
    ps_index_entry x;
    int status;
    const char *path = arena_at(&d->paths, e->path);
    found_kind found = look_up(d, path, e->path_len, e->sums, &x, &status);
    *answered = found != UNKNOWN || d->give_up;
    if (status != PS_OK) return status;
    if (found == FOUND) return put_known(d, e, &x);
    if (found == GONE) return put_head(d, e, DIGESTS_CHANGED, NULL);
    return d->give_up ? put_head(d, e, DIGESTS_NO, NULL) : PS_OK;
}

int ps_digester_retry(ps_digester *d, bool give_up) {
    d->retrying = d->pending_count > 0;
    d->give_up = give_up;
    d->retry_at = 0;
    return PS_OK;
}

static bool full(const ps_digester *d) { return buf_used(&send_output(d->send)->out) >= PS_SEND_HIGH_WATER; }

static int step(ps_digester *d) {
    while (d->head < d->count) {
        if (full(d)) return PS_FULL;
        if (answer_new(d, &d->queue[d->head++]) != PS_OK) return PS_FAIL;
    }
    while (d->retrying) {
        if (d->retry_at >= d->pending_count) {
            d->retrying = false;
            break;
        }
        if (full(d)) return PS_FULL;
        bool answered;
        if (answer_pending(d, &d->pending[d->retry_at], &answered) != PS_OK) return PS_FAIL;
        if (answered)
            d->pending[d->retry_at] = d->pending[--d->pending_count];
        else
            d->retry_at++;
    }
    if (!d->pending_count) d->paths.len = 0;
    return PS_AGAIN;
}

int ps_digester_step(ps_digester *d) {
    if (d->head == d->count && !d->retrying) return PS_AGAIN;
    if (d->index && index_begin(d->index) != PS_OK) return ps_fail(d->c, 11, 0, "%s", ps_index_error(d->index));
    int status = step(d);
    if (d->index) index_end(d->index);
    return status != PS_FAIL && close_frame(d) != PS_OK ? PS_FAIL : status;
}
