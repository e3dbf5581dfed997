/* A peer connection at the client: fetch frames out; data, missing and busy in (protocol-spec/nominate-1.md §2). */
#include "nominate/fetch.h"

#include <stdlib.h>

#include "digest/hash.h"

#define DATA_HEAD 14u /* id, entry, offset */
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
    ps_buf frame; /* the frame that comes: of data its head alone */
    struct { u32 request, entry; u64 offset; size_t left; } data; /* what follows the head */
    bool placed;  /* the input lies in the writer's slot */
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
    f->in.stream_code = PS_MSG_NOMINATE;
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
    buf_free(&f->frame);
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
    if (!count || count > PS_NOMINATE_FETCH_ENTRIES) return ps_fail(f->c, 13, 0, "a request of %u entries", count);
    open_request *r = add(f, id, count);
    if (!r) return ps_fail_memory(f->c, "a request");
    buf_u8(&b, PS_FRAME_FETCH);
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
}

/* The head of a data frame with `left` bytes to follow. */
static int take_data_head(ps_fetch *f, const u8 *head, size_t len, size_t left) {
    ps_reader in = rd_make(head, len);
    u32 id = rd_u32(&in);
    u16 entry = rd_u16(&in);
    u64 offset = rd_u64(&in);
    if (!rd_ok(&in) || left > PS_NOMINATE_DATA_BYTES) return broken(f, "a data frame of a wrong length");
    open_request *r = find(f, id, NULL);
    if (!r || entry >= r->count || r->entries[entry].settled) return broken(f, "data that was not asked for");
    wanted *e = &r->entries[entry];
    if (!left || offset != e->offset + e->got || left > e->length - e->got)
        return broken(f, "data outside the range that was asked for");
    f->data.request = id;
    f->data.entry = entry;
    f->data.offset = offset;
    f->data.left = left;
    return PS_OK;
}

/* Bytes of the data frame. PS_FULL: no slot is free for all of them; nothing else is read before. */
static int take_data(ps_fetch *f, const u8 *data, size_t len, size_t *used) {
    u32 at;
    open_request *r = find(f, f->data.request, &at);
    if (!r) return broken(f, "data that was not asked for");
    size_t n = len < f->data.left ? len : f->data.left;
    *used = n;
    if (!r->cancelled && f->placed)
        fetch_in_place(&f->writer, r->id, f->data.entry, f->data.offset, data, n);
    else if (!r->cancelled)
        *used = fetch_write(&f->writer, r->id, f->data.entry, f->data.offset, data, n);
    f->data.offset += *used;
    f->data.left -= *used;
    wanted *e = &r->entries[f->data.entry];
    e->got += *used;
    if (*used < n) return PS_FULL;
    if (e->got == e->length) settle(f, at, f->data.entry);
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
    (void)data, (void)len;
    if (code == PS_MSG_NOMINATE) return broken(f, "an empty frame"); /* others come as spans */
    /* The daemon's last words before it closes; the text is a stranger's and stays out of our log. */
    return code == PS_MSG_NOOP || code <= PS_LOG_ERROR_UTF8 || code == PS_MSG_ERROR_EXIT ? PS_OK : broken(f, "an unexpected message");
}

static int take_frame(ps_fetch *f, const u8 *data, u32 len) {
    switch (data[0]) {
    case PS_FRAME_MISSING: return take_missing(f, data + 1, len - 1);
    case PS_FRAME_BUSY: return take_busy(f, data + 1, len - 1);
    case PS_FRAME_BYE: f->bye = true; break;
    default: break;
    }
    if (buf_used(&f->frames) + len > FRAMES_HELD) return broken(f, "too many frames");
    return buf_u32(&f->frames, len) && buf_put(&f->frames, data, len) ? PS_OK : ps_fail_memory(f->c, "a frame");
}

/* The next bytes of a frame: data are taken as they come, other frames once they are whole. */
static int take_part(ps_fetch *f, const u8 *data, size_t len, size_t *used) {
    if (f->data.left) return take_data(f, data, len, used);
    u32 whole = f->in.streamed, have = (u32)buf_used(&f->frame);
    bool is_data = (have ? buf_head(&f->frame)[0] : data[0]) == PS_FRAME_DATA;
    u32 want = is_data && whole > 1 + DATA_HEAD ? 1 + DATA_HEAD : whole;
    *used = len < want - have ? len : want - have;
    if (!buf_put(&f->frame, data, *used)) return ps_fail_memory(f->c, "a frame");
    if (have + *used < want) return PS_OK;
    const u8 *frame = buf_head(&f->frame);
    int status = is_data ? take_data_head(f, frame + 1, want - 1, whole - want) : take_frame(f, frame, want);
    buf_clear(&f->frame);
    return status;
}

int ps_fetch_feed(ps_fetch *f, const u8 *data, size_t len) {
    if (!mux_in_drained(&f->in)) return PS_FULL;
    f->placed = false;
    mux_in_feed(&f->in, data, len);
    return PS_OK;
}

uint8_t *ps_fetch_room(ps_fetch *f, size_t *len) { return mux_in_drained(&f->in) ? fetch_room(&f->writer, len) : NULL; }

int ps_fetch_placed(ps_fetch *f, size_t len) {
    size_t room = 0;
    const u8 *data = ps_fetch_room(f, &room);
    if (!data || len > room) return ps_fail(f->c, 13, 0, "bytes that were not received where there was room");
    f->placed = true;
    fetch_placed(&f->writer, len);
    mux_in_feed(&f->in, data, len);
    return PS_OK;
}

int ps_fetch_step(ps_fetch *f) {
    if (f->c->error.exit_code) return PS_FAIL;
    for (;;) {
        const u8 *data;
        size_t n = 0, used = 0;
        int status = mux_span(f->c, &f->in, &data, &n, on_message, f);
        if (status == PS_OK && !f->in.streamed) return broken(f, "data outside a frame");
        if (status == PS_OK) {
            status = take_part(f, data, n, &used);
            mux_span_used(&f->in, used);
        }
        if (fetch_memory_failed(f->m)) return ps_fail_memory(f->c, "records of data");
        if (status == PS_AGAIN) break;
        if (status != PS_OK) return status;
    }
    if (!f->count) fetch_writer_end(&f->writer); /* others may need the slot while nothing is asked for here */
    if (buf_used(&f->frames)) return PS_FULL;
    return f->bye ? PS_DONE : PS_AGAIN;
}
