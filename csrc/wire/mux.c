#include "wire/mux.h"

#include <stdlib.h>

static bool plain_client(const ps_opts *o, bool client_receives) {
    return o->protocol < 30 && !(client_receives && o->remove_source_files);
}

bool mux_input_is_plain(const ps_opts *o) { return o->read_batch || (o->am_server && plain_client(o, o->role == PS_ROLE_SENDER)); }
bool mux_output_is_plain(const ps_opts *o) { return !o->am_server && plain_client(o, o->role == PS_ROLE_RECEIVER); }

bool ps_ctx_input_is_plain(const ps_ctx *c) { return mux_input_is_plain(&c->o); }

void mux_in_init(ps_mux_in *m) { *m = (ps_mux_in){.recording = NO_RECORDING}; }

void mux_in_free(ps_mux_in *m) {
    buf_free(&m->msg);
    buf_free(&m->stage);
    recording_free(&m->recording);
}

void mux_in_feed(ps_mux_in *m, const u8 *data, size_t len) {
    m->raw = data;
    m->raw_end = data + len;
}

/* Collects a message's bytes and delivers it once it is whole. PS_AGAIN: the feed ended within it. */
static int take_message(ps_ctx *c, ps_mux_in *m, ps_message_fn fn, void *owner) {
    size_t want = m->msg_len - buf_used(&m->msg), have = (size_t)(m->raw_end - m->raw);
    size_t n = want < have ? want : have;
    if (n && !buf_put(&m->msg, m->raw, n)) return ps_fail_memory(c, "a message of the remote");
    m->raw += n;
    if (n < want) return PS_AGAIN;
    m->in_message = false;
    int status = fn(owner, m->msg_code, buf_head(&m->msg), m->msg_len);
    buf_clear(&m->msg);
    return status;
}

/* Brings the input to a place where data bytes of a frame lie at raw. PS_OK, PS_AGAIN, PS_FAIL. */
static int seek_data(ps_ctx *c, ps_mux_in *m, ps_message_fn fn, void *owner) {
    if (m->plain) return m->raw < m->raw_end ? PS_OK : PS_AGAIN;
    for (;;) {
        if (m->in_message) {
            int status = take_message(c, m, fn, owner);
            if (status != PS_OK) return status;
            continue;
        }
        if (m->frame_left) return m->raw < m->raw_end ? PS_OK : PS_AGAIN;
        while (m->head_have < 4) {
            if (m->raw == m->raw_end) return PS_AGAIN;
            m->head[m->head_have++] = *m->raw++;
        }
        m->head_have = 0;
        ps_reader r = rd_make(m->head, 4);
        u32 word = rd_u32(&r), tag = word >> 24, len = word & 0xffffff;
        if (tag < PS_MUX_BASE) return ps_fail(c, 12, 0, "unexpected tag %d in the multiplexed stream", (int)tag - PS_MUX_BASE);
        if (tag == PS_MUX_BASE + PS_MSG_DATA) {
            m->frame_left = len;
            m->streamed = 0;
            continue;
        }
        if (len > PS_LIMIT_MESSAGE)
            return ps_fail(c, 12, 0, "message %u of %u bytes from the remote: at most %d are accepted", tag - PS_MUX_BASE, len,
                           PS_LIMIT_MESSAGE);
        if (len && m->stream_code && tag == PS_MUX_BASE + m->stream_code) {
            m->frame_left = m->streamed = len;
            continue;
        }
        m->in_message = true;
        m->msg_code = tag - PS_MUX_BASE;
        m->msg_len = len;
    }
}

static size_t data_here(const ps_mux_in *m) {
    size_t have = (size_t)(m->raw_end - m->raw);
    return m->plain || have < m->frame_left ? have : m->frame_left;
}

static void take_raw(ps_mux_in *m, size_t n) {
    recording_put(&m->recording, m->raw, n);
    m->data_bytes += n;
    m->raw += n;
    if (!m->plain) m->frame_left -= (u32)n;
}

int mux_fill(ps_ctx *c, ps_mux_in *m, size_t want, ps_message_fn fn, void *owner) {
    bool any = false;
    while (want) {
        int status = seek_data(c, m, fn, owner);
        if (status == PS_FAIL || status == PS_FULL) return status;
        if (status == PS_AGAIN) return any ? PS_OK : PS_AGAIN;
        size_t n = data_here(m);
        if (n > want) n = want;
        if (!buf_put(&m->stage, m->raw, n)) return ps_fail_memory(c, "input of the remote");
        take_raw(m, n);
        want -= n;
        any = true;
    }
    return PS_OK;
}

int mux_span(ps_ctx *c, ps_mux_in *m, const u8 **data, size_t *len, ps_message_fn fn, void *owner) {
    *len = buf_used(&m->stage);
    if (*len) {
        *data = buf_head(&m->stage);
        return PS_OK;
    }
    int status = seek_data(c, m, fn, owner);
    if (status != PS_OK) return status;
    *data = m->raw;
    *len = data_here(m);
    return PS_OK;
}

void mux_span_used(ps_mux_in *m, size_t n) {
    if (buf_used(&m->stage))
        buf_consume(&m->stage, n);
    else
        take_raw(m, n);
}

#define NO_FRAME SIZE_MAX

void mux_out_init(ps_mux_out *m) { *m = (ps_mux_out){.frame = NO_FRAME, .recording = NO_RECORDING}; }
void mux_out_free(ps_mux_out *m) {
    buf_free(&m->out);
    buf_free(&m->texts);
    recording_free(&m->recording);
}

void ps_mux_head(u32 code, u32 len, u8 head[4]) {
    u32 word = (PS_MUX_BASE + code) << 24 | len;
    for (int i = 0; i < 4; i++) head[i] = (u8)(word >> (8 * i));
}

void mux_out_close_frame(ps_mux_out *m) {
    if (m->frame == NO_FRAME) return;
    size_t at = m->out.start + m->frame, n = m->out.len - at - 4;
    if (n)
        ps_mux_head(PS_MSG_DATA, (u32)n, m->out.data + at);
    else
        m->out.len = at;
    m->frame = NO_FRAME;
}

/* m->frame counts from out.start, which only moves when nothing of an open frame has been consumed. */
static size_t frame_room(const ps_mux_out *m) {
    return m->frame == NO_FRAME ? 0 : PS_MUX_OUT_FRAME - (m->out.len - (m->out.start + m->frame) - 4);
}

static bool open_frame(ps_mux_out *m) {
    mux_out_close_frame(m);
    size_t at = buf_used(&m->out);
    if (!buf_u32(&m->out, 0)) return false;
    m->frame = at;
    return true;
}

u8 *mux_out_room(ps_mux_out *m, size_t n) {
    if (!m->plain && frame_room(m) < n && !open_frame(m)) return NULL;
    if (!buf_reserve(&m->out, n)) return NULL;
    return m->out.data + m->out.len;
}

void mux_out_commit(ps_mux_out *m, size_t n) {
    recording_put(&m->recording, m->out.data + m->out.len, n);
    if (m->aside || m->silent) return;
    m->out.len += n;
    m->data_bytes += n;
}

bool mux_out_data(ps_mux_out *m, const void *data, size_t n) {
    const u8 *p = data;
    recording_put(&m->recording, data, n);
    if (m->aside || m->silent) return true;
    m->data_bytes += n;
    if (m->plain) return buf_put(&m->out, p, n);
    while (n) {
        size_t room = frame_room(m);
        if (!room) {
            if (!open_frame(m)) return false;
            room = PS_MUX_OUT_FRAME;
        }
        size_t part = n < room ? n : room;
        if (!buf_put(&m->out, p, part)) return false;
        p += part;
        n -= part;
    }
    return true;
}

static bool put_message(ps_buf *b, u32 code, const void *data, size_t n) {
    u8 head[4];
    ps_mux_head(code, (u32)n, head);
    return buf_put(b, head, sizeof head) && buf_put(b, data, n);
}

bool mux_out_message(ps_mux_out *m, u32 code, const void *data, size_t n) {
    if (m->plain || m->silent) return true;
    bool text = (code >= PS_LOG_ERROR_XFER && code <= PS_LOG_ERROR_UTF8) || code == PS_MSG_DELETED;
    if (m->overtakes && text) return put_message(&m->texts, code, data, n);
    mux_out_close_frame(m);
    return put_message(&m->out, code, data, n);
}

const u8 *mux_out_span(ps_mux_out *m, size_t *len) {
    size_t n = buf_used(&m->texts), at = m->unsent_frame;
    mux_out_close_frame(m);
    if (n && buf_reserve(&m->out, n)) {
        u8 *head = m->out.data + m->out.start;
        memmove(head + at + n, head + at, buf_used(&m->out) - at);
        memcpy(head + at, buf_head(&m->texts), n);
        m->out.len += n;
        buf_clear(&m->texts);
    }
    *len = buf_used(&m->out);
    return *len ? buf_head(&m->out) : NULL;
}

/* How much of the last frame among the first n bytes lies behind them. */
static void pass_frames(ps_mux_out *m, size_t n) {
    const u8 *at = buf_head(&m->out);
    while (n) {
        if (!m->unsent_frame) {
            ps_reader r = rd_make(at, 4);
            m->unsent_frame = 4 + (rd_u32(&r) & 0xffffff);
        }
        size_t part = n < m->unsent_frame ? n : m->unsent_frame;
        m->unsent_frame -= part;
        at += part;
        n -= part;
    }
}

size_t mux_out_sent(ps_mux_out *m, size_t n) {
    if (n > buf_used(&m->out)) n = buf_used(&m->out);
    if (m->overtakes) pass_frames(m, n);
    buf_consume(&m->out, n);
    return n;
}
