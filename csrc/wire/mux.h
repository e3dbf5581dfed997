/* rsync's multiplex envelope (io.c): u32 little-endian header (7 + code) << 24 | length. */
#ifndef PS_MUX_H
#define PS_MUX_H
#include "core/context.h"
#include "wire/recording.h"

#include "api/mux_api.h"

/* Input: raw bytes of one feed call, demultiplexed in place. Data payload is offered as spans; records that must be
 * contiguous are read through `stage`, which mux_fill copies payload into. */
typedef struct ps_mux_in {
    const u8 *raw, *raw_end;   /* what is left of the current feed */
    u32 frame_left;            /* data bytes of the current frame still to come */
    u8 head[4];
    u32 head_have;
    u32 msg_code, msg_len;     /* a message being collected */
    u32 stream_code;           /* messages of this code are offered as spans too, as they come; 0: none */
    u32 streamed;              /* whole length of the message whose bytes the next span holds; 0: it holds data */
    bool in_message;
    ps_buf msg;
    ps_buf stage;              /* contiguous data bytes not yet decoded */
    bool plain;                /* not multiplexed: everything is data (before the switch) */
    u64 data_bytes;            /* data taken so far, without envelopes (io.c:total_data_read) */
    ps_recording recording;    /* gets all data as it is taken */
} ps_mux_in;

/* Called for each complete message that is not data. Returns PS_OK; PS_FAIL with ctx->error set; or PS_FULL: the message is
 * taken, but no further one may be delivered now: mux_span and mux_fill return PS_FULL. */
typedef int (*ps_message_fn)(void *owner, u32 code, const u8 *data, u32 len);

/* main.c:start_server, do_server_recv, client_run: before protocol 30 a client's output is data alone, unless its generator must
 * name files for --remove-source-files. A server's is multiplexed always. */
bool mux_input_is_plain(const ps_opts *o);
bool mux_output_is_plain(const ps_opts *o);
void mux_in_init(ps_mux_in *m);
void mux_in_free(ps_mux_in *m);
void mux_in_feed(ps_mux_in *m, const u8 *data, size_t len); /* only when the last feed is used up */
/* Moves up to `want` more data bytes into stage, delivering messages on the way. PS_OK when at least one byte came,
 * PS_AGAIN when the feed is used up, PS_FAIL. */
int mux_fill(ps_ctx *c, ps_mux_in *m, size_t want, ps_message_fn fn, void *owner);
/* The next contiguous run of data: first what is in stage, then straight from the feed. *len 0 with PS_AGAIN. */
int mux_span(ps_ctx *c, ps_mux_in *m, const u8 **data, size_t *len, ps_message_fn fn, void *owner);
void mux_span_used(ps_mux_in *m, size_t n);
static inline bool mux_in_drained(const ps_mux_in *m) { return m->raw == m->raw_end; }

/* Output: data is appended to an open frame of `out`; a message closes it. Frames are at most PS_MUX_OUT_FRAME bytes. */
typedef struct ps_mux_out {
    ps_buf out;
    size_t frame;              /* offset of the open frame's header, SIZE_MAX none */
    bool plain;
    bool silent;               /* nobody reads it: nothing is kept */
    bool aside;                /* data goes into the recording alone (--only-write-batch) */
    ps_recording recording;    /* gets all data */
    u64 data_bytes;            /* io.c:total_data_written */
    /* A server's texts and deletions overtake data that wait to be sent, as rsync's do (io.c:perform_io): what is said at the end
     * must be there before the last NDX_DONE, at which the client leaves. */
    bool overtakes;
    ps_buf texts;              /* such messages, not sent yet */
    size_t unsent_frame;       /* of the frame of `out` that has been sent in part */
} ps_mux_out;

/* Whoever fills an output stops above so many bytes, for them to be written. */
#define PS_SEND_HIGH_WATER (512u * 1024u)

void mux_out_init(ps_mux_out *m);
void mux_out_free(ps_mux_out *m);
bool mux_out_data(ps_mux_out *m, const void *data, size_t n);
/* Room for n contiguous data bytes in one frame (n <= PS_MUX_OUT_FRAME), to be filled by the caller (read straight
 * from a file into it); mux_out_commit says how many of them were used. NULL: memory. */
u8 *mux_out_room(ps_mux_out *m, size_t n);
void mux_out_commit(ps_mux_out *m, size_t n);
bool mux_out_message(ps_mux_out *m, u32 code, const void *data, size_t n); /* plain output has none: it is dropped (io.c:send_msg) */
/* What is to be sent, and how much of it is on its way. Where nothing overtakes, `out` will do too. */
const u8 *mux_out_span(ps_mux_out *m, size_t *len);
size_t mux_out_sent(ps_mux_out *m, size_t n); /* the count that was taken: no more than there was */
static inline size_t mux_out_used(const ps_mux_out *m) { return buf_used(&m->out) + buf_used(&m->texts); }
void mux_out_close_frame(ps_mux_out *m); /* before the bytes are handed to the socket */
#endif
