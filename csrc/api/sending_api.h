/* Read by cffi as well: declarations and `#define NAME number` only.
 * The sending side of a session after its handshake, as one pump: bytes of the socket in, bytes for the socket out. */
#ifndef PS_SEND_API_H
#define PS_SEND_API_H


typedef struct ps_send ps_send;
typedef struct ps_lister ps_lister;

/* The arguments stay the caller's and must outlive the pump; rules may be NULL. NULL: ps_ctx_error says why. */
ps_send *ps_send_new(ps_ctx *c, ps_flists *all, ps_lister *lister, ps_rules *rules, ps_root *root);
void ps_send_free(ps_send *s);

/* Raw bytes of the socket; they must stay in place until a step has answered PS_AGAIN. PS_FULL: the last ones are still in use. */
int ps_send_feed(ps_send *s, const uint8_t *data, size_t len);
/* Bounded work. PS_OK: call again (a good moment to write what ps_send_out has); PS_AGAIN: needs a feed; PS_FULL: output, log
 * or frames must be taken first; PS_DONE: after the goodbye, once ps_send_out is written the session is over; PS_FAIL. */
int ps_send_step(ps_send *s);
const uint8_t *ps_send_out(ps_send *s, size_t *len); /* valid until the next call but ps_send_sent */
void ps_send_sent(ps_send *s, size_t n);
/* Data of a client's own (filter rules), before the first step. */
int ps_send_put(ps_send *s, const uint8_t *data, size_t len);
/* The names of --files-from come from the remote, before the lists: a client's --files-from=:FILE. Before the first step. */
int ps_send_names_follow(ps_send *s);
/* Before the first step: from now on all data that is put out goes to the descriptor too, which stays the caller's; with
 * o.only_write_batch the files' data goes there alone. At the end, what is still held is written. */
int ps_send_record(ps_send *s, int fd);
int ps_send_end_recording(ps_send *s);
/* A multiplexed message in the stream, after what has been put there so far; code 0 with no data is a keep-alive. */
int ps_send_message(ps_send *s, int code, const uint8_t *data, size_t len);

/* Frames of the extension that the client sent: u32 little-endian length, bytes; and so on. */
const uint8_t *ps_send_frames(const ps_send *s, size_t *len);
void ps_send_frames_clear(ps_send *s);
/* The exit code that the client announced (MSG_ERROR_EXIT), -1: none. It is then the reason of PS_FAIL. */
int32_t ps_send_remote_exit(const ps_send *s);
int32_t ps_send_phase(const ps_send *s); /* 0 first, 1 redo, 2 the last; 3 goodbye */

#endif
