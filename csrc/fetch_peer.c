/* A peer connection at the client: fetch frames out; data, missing and busy in (protocol-spec/nominate-1.md §2). */
#include "fetch.h"

#include <stdlib.h>

#include "hash.h"

#define FRAME_FETCH 5
#define FRAME_DATA 6
#define FRAME_MISSING 7
#define FRAME_BUSY 8
#define FRAME_BYE 11
#define DATA_HEAD 14u /* id, entry, offset */
#define FETCH_ENTRIES 1024u
#define DATA_BYTES 65000u
#define FRAMES_HELD (1u << 20)

typedef struct wanted {
    u64 offset, length, got;
    bool settled;
} wanted;

typedef struct open_request {
    u32 id, count, left;
    bool cancelled;
    wanted *entries;
} open_request;

struct ps_fetch {
    ps_ctx *c;
    ps_fetch_memory *m;
    fetch_writer writer;
    ps_mux_in in;
    ps_mux_out out;
    ps_buf frames;
    ps_buf held; /* data of a frame for which there was no slot: u32 request, u32 entry, u64 offset, bytes */
    open_request *requests;
    u32 count, cap;
    bool bye;
};

ps_fetch *ps_fetch_new(ps_ctx *c, ps_fetch_memory *m) {
    ps_fetch *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->c = c;
    f->m = m;
    fetch_writer_init(&f->writer, m);
    mux_in_init(&f->in);
    mux_out_init(&f->out);
    return f;
}

void ps_fetch_free(ps_fetch *f) {
    if (!f) return;
    fetch_writer_free(&f->writer);
    for (u32 i = 0; i < f->count; i++) free(f->requests[i].entries);
    free(f->requests);
    mux_in_free(&f->in);
    mux_out_free(&f->out);
    buf_free(&f->frames);
    buf_free(&f->held);
    free(f);
}

uint32_t ps_fetch_open_requests(const ps_fetch *f) { return f->count; }

const u8 *ps_fetch_out(ps_fetch *f, size_t *len) {
    mux_out_close_frame(&f->out);
    *len = buf_used(&f->out.out);
    return *len ? buf_head(&f->out.out) : NULL;
}
void ps_fetch_sent(ps_fetch *f, size_t n) { buf_consume(&f->out.out, n); }

const u8 *ps_fetch_frames(const ps_fetch *f, size_t *len) {
    *len = buf_used(&f->frames);
    return *len ? buf_head(&f->frames) : NULL;
}
void ps_fetch_frames_clear(ps_fetch *f) { buf_clear(&f->frames); }

int ps_fetch_put_frame(ps_fetch *f, const u8 *data, size_t len) {
    return mux_out_message(&f->out, PS_MSG_NOMINATE, data, len) ? PS_OK : ps_fail_memory(f->c, "a frame");
}

/* ---- requests ------------------------------------------------------------------------------------- */

static open_request *find(ps_fetch *f, u32 id, u32 *at) {
    for (u32 i = 0; i < f->count; i++)
        if (f->requests[i].id == id) {
            if (at) *at = i;
            return &f->requests[i];
        }
    return NULL;
}

static open_request *add(ps_fetch *f, u32 id, u32 count) {
    if (f->count == f->cap) {
        u32 cap = f->cap ? f->cap * 2 : 16;
        open_request *grown = realloc(f->requests, cap * sizeof *grown);
        if (!grown) return NULL;
        f->requests = grown;
        f->cap = cap;
    }
    open_request *r = &f->requests[f->count];
    *r = (open_request){.id = id, .count = count, .left = count, .entries = calloc(count, sizeof(wanted))};
    if (!r->entries) return NULL;
    f->count++;
    return r;
}

static void drop(ps_fetch *f, u32 at) {
    free(f->requests[at].entries);
    f->requests[at] = f->requests[--f->count];
}

int ps_fetch_request(ps_fetch *f, uint32_t id, const uint8_t *entries, size_t len, uint32_t count) {
    ps_buf b = {0};
    if (!count || count > FETCH_ENTRIES) return ps_fail(f->c, 13, 0, "a request of %u entries", count);
    open_request *r = add(f, id, count);
    if (!r) return ps_fail_memory(f->c, "a request");
    buf_u8(&b, FRAME_FETCH);
    buf_u32(&b, id);
    buf_u16(&b, (u16)count);
    ps_reader in = rd_make(entries, len);
    for (u32 i = 0; i < count; i++) {
        u16 n = rd_u16(&in);
        const u8 *path = rd_bytes(&in, n);
        rd_u64(&in); /* size */
        rd_u64(&in); /* mtime */
        const u8 *digest = rd_bytes(&in, 32);
        u64 offset = rd_u64(&in), length = rd_u64(&in);
        if (!rd_ok(&in)) break;
        buf_u16(&b, n);
        buf_put(&b, path, n);
        buf_u8(&b, 1); /* digest kind */
        buf_put(&b, digest, 32);
        buf_u64(&b, offset);
        buf_u64(&b, length);
        r->entries[i] = (wanted){offset, length, 0, false};
    }
    bool ok = rd_ok(&in) && !b.failed && mux_out_message(&f->out, PS_MSG_NOMINATE, b.data, b.len);
    buf_free(&b);
    return ok ? PS_OK : ps_fail(f->c, 13, 0, "a request could not be written");
}

void ps_fetch_cancel(ps_fetch *f, uint32_t id) {
    open_request *r = find(f, id, NULL);
    if (r) r->cancelled = true;
}

/* ---- input ---------------------------------------------------------------------------------------- */

static int broken(ps_fetch *f, const char *what) { return ps_fail(f->c, 2, 0, "the mirror broke the protocol: %s", what); }

static void settle(ps_fetch *f, u32 at, u32 entry) {
    open_request *r = &f->requests[at];
    r->entries[entry].settled = true;
    if (--r->left) return;
    if (!r->cancelled) fetch_note(f->m, PS_RECORD_DONE, r->id, 0, 0);
    drop(f, at);
    if (!f->count) fetch_writer_end(&f->writer); /* others may need the slot while nothing is asked for here */
}

static int take_data(ps_fetch *f, const u8 *data, u32 len) {
    ps_reader in = rd_make(data, len);
    u32 id = rd_u32(&in), at;
    u16 entry = rd_u16(&in);
    u64 offset = rd_u64(&in);
    if (!rd_ok(&in) || rd_left(&in) > DATA_BYTES) return broken(f, "a data frame of a wrong length");
    size_t n = rd_left(&in);
    open_request *r = find(f, id, &at);
    if (!r || entry >= r->count || r->entries[entry].settled) return broken(f, "data that was not asked for");
    wanted *e = &r->entries[entry];
    if (!n || offset != e->offset + e->got || n > e->length - e->got) return broken(f, "data outside the range that was asked for");
    if (!r->cancelled) {
        size_t took = fetch_write(&f->writer, id, entry, offset, in.p, n);
        if (took < n) { /* kept until a slot is free; nothing else is read before */
            buf_u32(&f->held, id);
            buf_u32(&f->held, entry);
            buf_u64(&f->held, offset + took);
            if (!buf_put(&f->held, in.p + took, n - took)) return ps_fail_memory(f->c, "data of a mirror");
            e->got += n;
            return PS_FULL; /* settled when it has been written; the mux stops here */
        }
    }
    e->got += n;
    if (e->got == e->length) settle(f, at, entry);
    return PS_OK;
}

static int write_held(ps_fetch *f) {
    ps_reader in = rd_make(buf_head(&f->held), buf_used(&f->held));
    u32 id = rd_u32(&in), entry = rd_u32(&in), at = 0;
    u64 offset = rd_u64(&in);
    size_t n = rd_left(&in);
    open_request *r = find(f, id, &at);
    size_t took = r && !r->cancelled ? fetch_write(&f->writer, id, entry, offset, in.p, n) : n;
    if (took < n) {
        ps_buf rest = {0};
        buf_u32(&rest, id);
        buf_u32(&rest, entry);
        buf_u64(&rest, offset + took);
        if (!buf_put(&rest, in.p + took, n - took)) return ps_fail_memory(f->c, "data of a mirror");
        buf_free(&f->held);
        f->held = rest;
        return PS_FULL;
    }
    buf_clear(&f->held);
    if (r && r->entries[entry].got == r->entries[entry].length) settle(f, at, entry);
    return PS_OK;
}

static int take_missing(ps_fetch *f, const u8 *data, u32 len) {
    ps_reader in = rd_make(data, len);
    u32 id = rd_u32(&in), at;
    u16 entry = rd_u16(&in);
    u8 reason = rd_u8(&in);
    open_request *r = rd_ok(&in) ? find(f, id, &at) : NULL;
    if (!r || entry >= r->count || r->entries[entry].settled) return broken(f, "a missing frame for nothing that was asked for");
    if (!r->cancelled) fetch_note(f->m, PS_RECORD_MISSING, id, entry, reason);
    settle(f, at, entry);
    return PS_OK;
}

static int take_busy(ps_fetch *f, const u8 *data, u32 len) {
    ps_reader in = rd_make(data, len);
    u32 id = rd_u32(&in), at;
    u16 seconds = rd_u16(&in);
    open_request *r = rd_ok(&in) ? find(f, id, &at) : NULL;
    if (!r) return broken(f, "a busy frame for nothing that was asked for");
    if (!r->cancelled) fetch_note(f->m, PS_RECORD_BUSY, id, 0, seconds);
    drop(f, at);
    return PS_OK;
}

static int on_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_fetch *f = owner;
    if (code == PS_MSG_NOOP) return PS_OK;
    if (code != PS_MSG_NOMINATE) {
        /* The daemon's last words before it closes; the text is a stranger's and stays out of our log. */
        return code <= PS_LOG_ERROR_UTF8 || code == PS_MSG_ERROR_EXIT ? PS_OK : broken(f, "an unexpected message");
    }
    if (!len) return broken(f, "an empty frame");
    switch (data[0]) {
    case FRAME_DATA: return take_data(f, data + 1, len - 1);
    case FRAME_MISSING: return take_missing(f, data + 1, len - 1);
    case FRAME_BUSY: return take_busy(f, data + 1, len - 1);
    case FRAME_BYE: f->bye = true; break;
    default: break;
    }
    if (buf_used(&f->frames) + len > FRAMES_HELD) return broken(f, "too many frames");
    return buf_u32(&f->frames, len) && buf_put(&f->frames, data, len) ? PS_OK : ps_fail_memory(f->c, "a frame");
}

int ps_fetch_feed(ps_fetch *f, const u8 *data, size_t len) {
    if (!mux_in_drained(&f->in)) return PS_FULL;
    mux_in_feed(&f->in, data, len);
    return PS_OK;
}

int ps_fetch_step(ps_fetch *f) {
    const u8 *data;
    size_t n;
    if (f->c->error.exit_code) return PS_FAIL;
    if (buf_used(&f->held)) {
        int status = write_held(f);
        if (status != PS_OK) return status;
    }
    int status = mux_span(f->c, &f->in, &data, &n, on_message, f);
    if (fetch_memory_failed(f->m)) return ps_fail_memory(f->c, "records of data");
    if (status == PS_FAIL || status == PS_FULL) return status;
    if (status == PS_OK && n) return broken(f, "data outside a frame");
    if (buf_used(&f->held) || buf_used(&f->frames)) return PS_FULL;
    return f->bye ? PS_DONE : PS_AGAIN;
}
